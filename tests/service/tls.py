"""TLS in front of a test's server, which has none, with certificates by `openssl`."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

POSTGRESQL_ASKS = bytes.fromhex("00000008 04d2162f")  # SSLRequest, before any TLS
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def make_certificates(folder: Path) -> None:
    """Make ca.pem, and {server,client}.{pem,key}: of localhost, and of the user app."""

    def openssl(*arguments: str) -> None:
        command = ["openssl", *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    own = ("-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-x509", *CURVE, *own)
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name, subject in (("server", "localhost"), ("client", "app")):
        asked = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("req", "-new", *CURVE, "-subj", f"/CN={subject}", *asked)
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        signed = ("-extfile", "names", "-in", f"{name}.csr", "-out", f"{name}.pem")
        openssl("x509", "-req", *by, *signed)


@asynccontextmanager
async def tls_before(
    port: int | None, certificates: Path, *, postgresql: bool = False
) -> AsyncIterator[int]:
    """Yield a port that wants a client's certificate, and passes on to this one."""
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem"
    )
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")

    async def pass_on(reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                to.write(data)
        except OSError:  # also of TLS: no certificate
            pass
        finally:
            to.close()

    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if postgresql:
            assert await reader.readexactly(8) == POSTGRESQL_ASKS
            writer.write(b"S")
            try:
                await writer.start_tls(context)
            except OSError:
                writer.close()
                return
        server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, server[1]), pass_on(server[0], writer))

    proxy = await asyncio.start_server(
        accept, "127.0.0.1", 0, ssl=None if postgresql else context
    )
    async with proxy:
        yield proxy.sockets[0].getsockname()[1]

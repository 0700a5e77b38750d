"""${message.replace("\\", "/").replace('"', "'")}"""
% if upgrades or not isinstance(down_revision, tuple):

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
% endif
<%
    def quoted(value):
        if value is None or isinstance(value, str):
            return "None" if value is None else f'"{value}"'
        return "(" + ", ".join(quoted(item) for item in value) + ",)"
%>\
revision = ${quoted(up_revision)}
down_revision = ${quoted(down_revision)}
branch_labels = ${quoted(branch_labels)}
depends_on = ${quoted(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}

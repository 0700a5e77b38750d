// Brings the numbers up to date in place. Without it, the link does.
"use strict";

const PAUSE = 5000; // milliseconds
const place = document.getElementById("refresh");
const state = document.createElement("span");
const button = document.createElement("button");
let paused = false;
let timer;

function show(text) {
  state.textContent = text;
}

async function refresh() {
  let answer;
  try {
    answer = await fetch(place.dataset.page, { cache: "no-store" });
  } catch {
    show("The service does not answer");
    return;
  }
  if (answer.redirected || answer.status === 403) {
    location.assign(place.dataset.page); // to the login
    return;
  }
  if (!answer.ok) {
    show("The service cannot answer now");
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(old.id);
    if (now !== null && now.innerHTML !== old.innerHTML) {
      old.replaceChildren(...now.childNodes);
    }
  }
  show(`As of ${new Date().toLocaleTimeString()}`);
}

async function goOn() {
  clearTimeout(timer);
  if (paused || document.hidden) {
    return;
  }
  await refresh();
  timer = setTimeout(goOn, PAUSE);
}

button.type = "button";
button.textContent = "Pause";
button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Go on" : "Pause";
  goOn();
});
document.addEventListener("visibilitychange", goOn);
place.replaceChildren(state, button);
show(`As of ${new Date().toLocaleTimeString()}`);
timer = setTimeout(goOn, PAUSE);

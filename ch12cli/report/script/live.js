// Asks the board for what is new, while the page is looked at.

const PAUSE = 2000; // milliseconds between two questions, at least
const SHARE = 10; // and so many times as long as an answer takes

async function ask(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { "X-Ch12-Board": "1", ...options.headers } });
  if (answer.status === 204) return null;
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function pause(time) { return new Promise((done) => setTimeout(done, time)); }

// Calls `update` again and again while the page is visible. It says whether to go on.
async function again(update) {
  let wait = PAUSE;
  for (;;) {
    await pause(wait);
    if (document.hidden) continue;
    const began = performance.now();
    let goesOn = true;
    try {
      goesOn = await update();
      say("");
    } catch (error) {
      say(error instanceof TypeError ? "The board does not answer." : error.message);
    }
    if (!goesOn) return;
    wait = Math.max(PAUSE, SHARE * (performance.now() - began));
  }
}

function say(text) {
  const place = document.getElementById("said");
  if (place.textContent !== text) place.textContent = text;
}

// Follows a run or a sweep until it ends, and then shows all of it.
function follow(data, view) {
  let version = data.live.version;
  let running = data.live.running;
  show(data.live);
  if (!running) return;
  again(async () => {
    const found = await ask(`${data.live.data}?since=${encodeURIComponent(version)}`);
    if (!found) return true;
    ({ version, running } = found.live);
    show(found.live);
    if (!running) return location.reload();
    found.fetchCurves = data.fetchCurves;
    view.load(found);
    return true;
  });
}

function show({ status, highlights, standing }) {
  const place = document.getElementById("status");
  place.textContent = status;
  place.className = `status ${status}`;
  document.getElementById("standing").textContent = standing;
  const boxes = highlights.map(([label, text]) => make("div", {}, make("b", { text }), make("span", { text: label })));
  document.getElementById("highlights").replaceChildren(...boxes);
}

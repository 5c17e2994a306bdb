// Starts what a page has of it.

const holder = document.getElementById("data");
if (holder) {
  const data = JSON.parse(holder.textContent);
  document.documentElement.classList.add("live");
  const host = document.getElementById("explore");
  const view = data.kind === "run" ? new RunCurves(host, data.curves) : new Explorer(host, data);
  host.hidden = false;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (data.kind === "run" ? view.load(data.curves) : view.refresh()));
}
const folded = [...document.querySelectorAll("details")].filter((each) => !each.open);
addEventListener("beforeprint", () => folded.forEach((each) => { each.open = true; }));
addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));

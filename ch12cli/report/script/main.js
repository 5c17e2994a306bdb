// Starts what a page has of it.

const holder = document.getElementById("data");
if (holder) {
  const data = JSON.parse(holder.textContent);
  document.documentElement.classList.add("live");
  if (data.live) data.fetchCurves = (jobs) => ask(`${data.live.curves}?jobs=${jobs.join(",")}`);
  const host = document.getElementById("explore");
  host.hidden = false;
  const view = data.kind === "board" ? new RunList(host, data) : data.kind === "run" ? new RunCurves(host, data.curves) : new Explorer(host, data);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.refresh());
  if (data.live?.data) follow(data, view);
}
const folded = [...document.querySelectorAll("details")].filter((each) => !each.open);
addEventListener("beforeprint", () => folded.forEach((each) => { each.open = true; }));
addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));

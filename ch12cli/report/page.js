"use strict";
// Tables of the class `jobs`: a click on a heading sorts, words and comparisons (lr<0.01) in the search box filter.
function value(cell) {
  const text = cell.textContent.trim();
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
}
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
const SIGNS = {
  "<": (c) => c < 0, "<=": (c) => c <= 0, ">": (c) => c > 0, ">=": (c) => c >= 0, "=": (c) => c === 0, "!=": (c) => c !== 0,
};
function conditions(text, names) {
  return text.trim().split(/\s+/).filter((word) => word && word !== "and").map((word) => {
    const found = word.match(/^(.+?)(<=|>=|!=|=|<|>)(.+)$/);
    const column = found === null ? -1 : names.findIndex((name) => name === found[1] || name.endsWith("." + found[1]));
    if (column < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
    const wanted = Number.isNaN(Number(found[3])) ? found[3].toLowerCase() : Number(found[3]);
    return (row) => {
      const cell = value(row.cells[column]);
      return cell !== null && typeof cell === typeof wanted && SIGNS[found[2]](compare(cell, wanted));
    };
  });
}
for (const table of document.querySelectorAll("table.jobs")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const names = headings.map((heading) => heading.textContent.trim());
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
      rows.sort((a, b) => (a[0] === null || b[0] === null || !down ? compare(a[0], b[0]) : compare(b[0], a[0])));
      body.append(...rows.map((pair) => pair[1]));
    });
  });
  const box = document.getElementById(table.dataset.filter);
  const count = document.getElementById(table.dataset.count);
  const filter = () => {
    const holds = conditions(box.value, names);
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !holds.every((condition) => condition(row));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${body.rows.length}`;
  };
  box.addEventListener("input", filter);
  filter();
}
const folded = [...document.querySelectorAll("details")].filter((each) => !each.open);
addEventListener("beforeprint", () => folded.forEach((each) => { each.open = true; }));
addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));

// The colour of each row by a column: a colour for each of a few values, shades for many numbers.

const COLOURS = 8;
const VIRIDIS = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [159, 218, 58], [253, 231, 37]];

function shade(share) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const kept = dark ? 0.2 + 0.8 * share : 0.9 * share; // the ends would not stand out from the page
  const position = kept * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(position), VIRIDIS.length - 2);
  const mixed = VIRIDIS[low].map((part, index) => Math.round(part + (VIRIDIS[low + 1][index] - part) * (position - low)));
  return `rgb(${mixed.join(" ")})`;
}

// Returns the colour of each row, and the entries of the legend: [colour, text] each.
function coloursBy(column) {
  const lines = Array.from({ length: COLOURS }, (_, number) => css(`--line-${number}`));
  const dim = css("--dim");
  if (!column) return { of: () => lines[0], legend: [] };
  if (column.numeric && column.different.length > COLOURS) {
    const legend = [0, 0.25, 0.5, 0.75, 1].map((share) => [shade(share), column.textAt(share)]);
    return { of: (row) => { const share = column.share(row); return Number.isNaN(share) ? dim : shade(share); }, legend };
  }
  const places = new Map(column.different.map((text, number) => [text, number]));
  const of = (row) => lines[places.get(column.texts[row])] ?? dim;
  const legend = column.different.slice(0, COLOURS).map((text, number) => [lines[number], text]);
  if (column.different.length > COLOURS) legend.push([dim, `${column.different.length - COLOURS} others`]);
  return { of, legend };
}

function legendOf(column, { legend }) {
  if (!column || !legend.length) return make("p", { className: "legend" });
  const entries = legend.map(([colour, text]) => {
    const mark = make("i", { attributes: { "aria-hidden": "true" } });
    mark.style.background = colour;
    return make("span", {}, mark, short(text, 40));
  });
  return make("p", { className: "legend" }, make("b", { text: column.label }), ...entries);
}

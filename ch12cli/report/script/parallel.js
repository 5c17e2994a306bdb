// Parallel coordinates: a line for each row across the axes of some columns. A range of an axis, dragged with the
// pointer or moved by the handles (arrow keys), keeps the rows whose lines go through it.

const SVG = "http://www.w3.org/2000/svg";
const TOP = 46, BOTTOM = 40, SIDE = 56;
const GRAB = 5; // pixels that a drag must have

function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

class Parallel {
  // changed: is called when a range changes.
  constructor(host, changed) {
    Object.assign(this, { host, changed, height: 300, ranges: new Map(), columns: [] });
    this.canvas = make("canvas", { attributes: { "aria-hidden": "true" } });
    this.axes = svg("svg", { role: "group", "aria-label": "Parallel coordinates: a range of each axis keeps rows" });
    this.box = make("div", { className: "parallel" }, this.canvas, this.axes);
    host.append(make("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": "Parallel coordinates" } }, this.box));
    new ResizeObserver(() => this.width !== this.measure() && this.columns.length && this.render()).observe(host);
  }
  measure() { return Math.max(this.host.clientWidth, 88 * this.columns.length); }
  show(columns, colours, isKept) {
    Object.assign(this, { columns, colours, isKept });
    for (const name of this.ranges.keys()) if (!columns.some((column) => column.name === name)) this.ranges.delete(name);
    this.render();
  }
  x(position) {
    return this.columns.length < 2 ? this.width / 2 : SIDE + (position * (this.width - 2 * SIDE)) / (this.columns.length - 1);
  }
  y(share) { return Number.isNaN(share) ? this.height - 16 : TOP + (1 - share) * (this.height - TOP - BOTTOM); }
  // Whether a row goes through the ranges of all axes.
  keeps(row) {
    return this.columns.every((column) => {
      const range = this.ranges.get(column.name);
      if (!range) return true;
      const share = column.share(row);
      return share >= range[0] - 1e-9 && share <= range[1] + 1e-9;
    });
  }
  get said() {
    return this.columns.filter(({ name }) => this.ranges.has(name)).map((column) => [column.name, `${column.name}: ${this.inWords(column)}`]);
  }
  inWords(column) {
    const [low, high] = this.ranges.get(column.name) ?? [0, 1];
    if (!column.named) return `${column.textAt(low)} to ${column.textAt(high)}`;
    return column.different.filter((_, position) => column.at(low) <= position && position <= column.at(high)).map((text) => short(text)).join(", ") || "none";
  }
  clear(name) {
    this.ranges.delete(name);
    this.changed();
  }
  render() {
    this.width = this.measure();
    this.box.style.width = `${this.width}px`;
    this.box.style.height = `${this.height}px`;
    this.paint();
    const focused = document.activeElement?.getAttribute?.("data-handle");
    this.axes.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.axes.replaceChildren(...this.columns.map((column, position) => this.axis(column, position)));
    if (focused) [...this.axes.querySelectorAll("[data-handle]")].find((handle) => handle.getAttribute("data-handle") === focused)?.focus();
  }
  paint() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = this.width * ratio;
    this.canvas.height = this.height * ratio;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const count = this.columns[0]?.texts.length ?? 0;
    const shares = this.columns.map((column) => Float64Array.from({ length: count }, (_, row) => column.share(row)));
    const line = (row) => {
      context.beginPath();
      shares.forEach((share, position) => {
        const jitter = this.columns[position].different.length <= FEW ? (((row * 7919) % 101) / 101 - 0.5) * 8 : 0;
        context.lineTo(this.x(position), this.y(share[row]) + jitter);
      });
      context.stroke();
    };
    const kept = [];
    context.lineWidth = 1;
    context.strokeStyle = css("--rule");
    context.globalAlpha = count > 2000 ? 0.15 : 0.5;
    for (let row = 0; row < count; row++) if (this.isKept(row)) kept.push(row); else line(row);
    context.globalAlpha = Math.max(0.12, Math.min(0.8, 60 / kept.length + 0.1));
    for (const row of kept) {
      context.strokeStyle = this.colours.of(row);
      line(row);
    }
  }
  axis(column, position) {
    const x = this.x(position);
    const [top, bottom] = [this.y(1), this.y(0)];
    const group = svg("g", {});
    const name = svg("text", { x, y: 14, "text-anchor": "middle", class: "name" }, short(column.label, Math.max(8, Math.floor(this.width / this.columns.length / 7))));
    name.append(svg("title", {}, column.label));
    group.append(name, svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "axis" }));
    for (const [share, text] of this.labels(column)) group.append(svg("text", { x: x + 7, y: this.y(share) + 4, class: "tick" }, text));
    if (column.texts.some((text) => text === "")) group.append(svg("text", { x: x + 7, y: this.y(NaN) + 4, class: "tick" }, "none"));
    const area = svg("rect", { x: x - 14, y: top - 8, width: 28, height: bottom - top + 16, class: "area", "data-axis": column.name });
    area.addEventListener("pointerdown", (event) => this.drag(event, column));
    group.append(area);
    const range = this.ranges.get(column.name);
    if (range) group.append(svg("rect", { x: x - 6, y: this.y(range[1]), width: 12, height: Math.max(2, this.y(range[0]) - this.y(range[1])), class: "range" }));
    for (const end of [0, 1]) group.append(this.handle(column, x, end));
    return group;
  }
  labels(column) {
    const found = column.ticks?.map(([value, text]) => [this.shareOf(column, value), short(text, 12)])
      ?? [0, 0.25, 0.5, 0.75, 1].map((share) => [share, column.textAt(share)]);
    let last = Infinity;
    return found.sort((a, b) => a[0] - b[0]).filter(([share]) => {
      const y = this.y(share);
      if (last - y < 12) return false;
      last = y;
      return true;
    });
  }
  shareOf(column, value) {
    const [low, high] = column.log ? column.limits.map(Math.log10) : column.limits;
    return ((column.log ? Math.log10(value) : value) - low) / (high - low || 1);
  }
  handle(column, x, end) {
    const share = (this.ranges.get(column.name) ?? [0, 1])[end];
    const y = this.y(share);
    const away = end ? -1 : 1;
    const handle = svg("path", {
      d: `M${x - 7} ${y + 9 * away}L${x + 7} ${y + 9 * away}L${x} ${y}Z`, class: "handle", tabindex: 0, role: "slider",
      "data-handle": `${column.name} ${end}`, "aria-orientation": "vertical",
      "aria-label": `${column.label}: ${end ? "highest" : "lowest"} value to keep`,
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share), "aria-valuetext": this.endInWords(column, end, share),
    });
    handle.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 }[event.key];
      if (event.key === "Escape") this.clear(column.name);
      if (by === undefined) return;
      event.preventDefault();
      this.move(column, end, by);
    });
    handle.addEventListener("pointerdown", (event) => this.drag(event, column, end));
    return handle;
  }
  // The last value that is kept at an end of a range.
  endInWords(column, end, share) {
    if (column.different.length > 40) return column.textAt(share);
    const inside = column.different.filter((text, place) => (end ? -1 : 1) * (this.shareOf(column, column.named ? place : Number(text)) - share) >= -1e-9);
    return inside.at(end ? -1 : 0) ?? "none";
  }
  // Moves an end by so many of the values, or by a twentieth of the axis if there are many.
  move(column, end, by) {
    const range = [...(this.ranges.get(column.name) ?? [0, 1])];
    const stops = column.different.length > 40 ? null : column.different.map((text, place) => this.shareOf(column, column.named ? place : Number(text)));
    if (stops) {
      const beside = stops.slice(1).map((stop, place) => (stop + stops[place]) / 2);
      const places = [0, ...beside, 1];
      const now = places.reduce((best, place, index) => (Math.abs(place - range[end]) < Math.abs(places[best] - range[end]) ? index : best), 0);
      range[end] = places[Math.max(0, Math.min(places.length - 1, now + by))];
    } else range[end] = Math.max(0, Math.min(1, range[end] + by / 20));
    this.set(column, range[0] <= range[1] ? range : [range[1], range[1]]);
  }
  set(column, [low, high]) {
    if (low <= 0 && high >= 1) this.ranges.delete(column.name);
    else this.ranges.set(column.name, [Math.max(0, low), Math.min(1, high)]);
    this.changed();
  }
  drag(event, column, end) {
    event.preventDefault();
    const share = ({ clientY }) => {
      const box = this.axes.getBoundingClientRect();
      return Math.max(0, Math.min(1, 1 - (clientY - box.top - TOP) / (this.height - TOP - BOTTOM)));
    };
    const [from, y] = [share(event), event.clientY];
    const before = this.ranges.get(column.name) ?? [0, 1];
    const move = (now) => {
      const to = share(now);
      if (end === undefined) { if (Math.abs(now.clientY - y) >= GRAB) this.set(column, [Math.min(from, to), Math.max(from, to)]); }
      else this.set(column, end ? [before[0], Math.max(before[0], to)] : [Math.min(before[1], to), before[1]]);
    };
    const stop = (now) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", stop);
      if (end === undefined && Math.abs(now.clientY - y) < GRAB) this.clear(column.name); // a click on an axis
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop);
  }
}

// A pair of axes, drawn by uPlot, with marks of our own on its canvas. The mark nearest to the pointer tells what it is.

const NEAR = 24; // pixels from the pointer

class Plane {
  // host: the element that holds it. name: what a screen reader says. pick: what a click on a mark does.
  constructor(host, name, { height = 300, pick } = {}) {
    this.host = host;
    this.height = height;
    this.pick = pick;
    this.marks = [];
    this.at = -1;
    this.frame = make("div", { className: "plane", tabIndex: 0, attributes: { role: "group", "aria-roledescription": "chart" } });
    this.tip = make("div", { className: "tip", hidden: true, attributes: { "aria-live": "polite" } });
    this.frame.setAttribute("aria-label", name);
    host.append(this.frame, this.tip);
    this.frame.addEventListener("keydown", (event) => this.step(event));
    this.frame.addEventListener("blur", () => this.point(-1));
    new ResizeObserver(() => this.resize()).observe(host);
  }
  resize() {
    const width = this.host.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }
  // x, y: {label, limits, log, ticks}. marks: [x value, y value, text, data, pixels to shift] each.
  // draw: (context, place, of) draws; place: gives the pixels of a value. zoom: whether marks beyond the limits are drawn at the edge
  show({ x, y, marks, draw }) {
    this.drawn = { x, y, draw };
    this.marks = marks;
    this.plot?.destroy();
    for (const each of [x, y]) each.ticks ??= each.log ? logTicks(each.limits) : null;
    const axis = (given, size) => ({
      label: given.label, size, labelSize: 22, gap: 4, font: "12px system-ui", labelFont: "13px system-ui",
      stroke: () => css("--text"), grid: { stroke: () => css("--rule"), width: 1 }, ticks: { stroke: () => css("--rule"), width: 1, size: 5 },
      ...(given.ticks ? { splits: () => given.ticks.map(([value]) => value), filter: (_, splits) => splits, values: (u) => this.apart(u, given) }
        : { values: (_, splits) => splits.map((split) => (split === null ? "" : asText(split))) }),
    });
    const scale = ({ limits: [low, high], log }) => ({ time: false, distr: log ? 3 : 1, range: [low, high], auto: false });
    const longest = (y.ticks ?? []).reduce((most, [, text]) => Math.max(most, text.length), 5);
    this.plot = new uPlot({
      width: this.host.clientWidth || 320, height: this.height, legend: { show: false }, cursor: { show: false }, padding: [10, 14, 0, 0],
      series: [{}, { paths: () => null, points: { show: false } }],
      scales: { x: scale(x), y: scale(y) },
      axes: [axis(x, 34), axis(y, 14 + 7 * longest)],
      hooks: { draw: [(u) => this.paint(u)] },
    }, [x.limits, y.limits], this.frame);
    const over = this.plot.over;
    over.addEventListener("mousemove", (event) => this.point(this.nearest(event), event));
    over.addEventListener("mouseleave", () => this.point(-1));
    over.addEventListener("click", (event) => { const found = this.nearest(event); if (found >= 0) this.pick?.(this.marks[found][3]); });
  }
  // The texts of the ticks, without those that would lie over the one before.
  apart(u, given) {
    const vertical = given === this.drawn.y;
    let last = -Infinity;
    return given.ticks.map(([value, text]) => {
      const place = vertical ? -u.valToPos(value, "y") : u.valToPos(value, "x");
      if (place - last < (vertical ? 14 : 7 * text.length + 6)) return "";
      last = place;
      return text;
    });
  }
  place(u, x, y, shift = 0) {
    const inside = (value, [low, high]) => Math.min(high, Math.max(low, value));
    const ratio = devicePixelRatio || 1;
    return [u.valToPos(inside(x, this.drawn.x.limits), "x", true) + shift * ratio, u.valToPos(inside(y, this.drawn.y.limits), "y", true)];
  }
  paint(u) {
    const context = u.ctx;
    const ratio = devicePixelRatio || 1;
    context.save();
    context.beginPath();
    context.rect(u.bbox.left - 4 * ratio, u.bbox.top - 4 * ratio, u.bbox.width + 8 * ratio, u.bbox.height + 8 * ratio);
    context.clip();
    this.drawn.draw(context, (x, y, shift) => this.place(u, x, y, shift), ratio);
    if (this.at >= 0 && this.marks[this.at]) {
      const [x, y, , , shift] = this.marks[this.at];
      context.beginPath();
      context.arc(...this.place(u, x, y, shift), 6 * ratio, 0, 2 * Math.PI);
      context.lineWidth = 2 * ratio;
      context.strokeStyle = css("--text");
      context.stroke();
    }
    context.restore();
  }
  pixels(index) {
    const [x, y, , , shift] = this.marks[index];
    const ratio = devicePixelRatio || 1;
    const [left, top] = this.place(this.plot, x, y, shift);
    return [(left - this.plot.bbox.left) / ratio, (top - this.plot.bbox.top) / ratio];
  }
  nearest(event) {
    const box = this.plot.over.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let [best, least] = [-1, NEAR ** 2];
    for (let index = 0; index < this.marks.length; index++) {
      const [x, y] = this.pixels(index);
      const far = (x - left) ** 2 + (y - top) ** 2;
      if (far < least) [best, least] = [index, far];
    }
    return best;
  }
  point(index) {
    if (index === this.at) return;
    this.at = index;
    this.plot?.redraw(false);
    this.tip.hidden = index < 0;
    if (index < 0) return;
    const [x, y] = this.pixels(index);
    this.tip.textContent = this.marks[index][2];
    const over = this.plot.over;
    const left = over.offsetLeft + x + 12;
    this.tip.style.left = `${Math.max(0, Math.min(left, this.host.clientWidth - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${this.frame.offsetTop + over.offsetTop + Math.max(0, y - this.tip.offsetHeight - 10)}px`;
  }
  step(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.point(-1);
    if (event.key === "Enter" && this.at >= 0) this.pick?.(this.marks[this.at][3]);
    if (by === undefined || !this.marks.length) return;
    event.preventDefault();
    this.order ??= new WeakMap();
    if (!this.order.has(this.marks)) this.order.set(this.marks, this.marks.map((_, index) => index).sort((a, b) => this.marks[a][0] - this.marks[b][0]));
    const order = this.order.get(this.marks);
    const now = order.indexOf(this.at) + by;
    this.point(order[Math.max(0, Math.min(order.length - 1, now))]);
  }
}

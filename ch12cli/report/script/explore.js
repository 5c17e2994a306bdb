// The interactive part of a sweep's page: two charts of the jobs, parallel coordinates, their curves, and their table.

const FACETS = 9; // panels
const LINES = 200; // curves
const AXES = 8;

function option({ name, label }) { return make("option", { value: name, text: label }); }

class Explorer {
  constructor(host, data) {
    this.host = host;
    this.pickedJobs = [];
    this.own = {}; // what the reader chose
    this.table = new Table(document.querySelector("table.jobs"), (row) => this.pick(row), (row) => this.data.links?.[row] ?? null);
    this.filter = document.getElementById("filter");
    this.count = document.getElementById("count");
    this.filter.addEventListener("input", () => { this.table.page = 0; this.refresh(); });
    this.controls = make("div", { className: "controls" });
    this.legend = make("div", {});
    this.panels = make("div", { className: "panels" });
    this.note = make("p", { className: "dim" });
    this.ranges = make("p", { className: "ranges", attributes: { "aria-live": "polite" } });
    const parallel = make("div", { className: "chart" });
    this.parallel = new Parallel(parallel, () => this.refreshSoon());
    this.curves = new Curves(make("div", { id: "curves" }));
    this.curves.pick = (row) => this.pick(row);
    host.append(
      make("h2", { text: "Explore" }), this.controls, this.legend, this.panels, this.note,
      make("h3", { text: "Parallel coordinates" }),
      make("p", { className: "dim", text: "Drag along an axis, or move its handles, to keep some jobs; a click on it ends that. What is kept is what the curves and the table below show." }),
      parallel, this.ranges, this.curves.host,
    );
    host.hidden = false;
    this.load(data);
  }
  load(data) {
    this.data = data;
    this.columns = data.columns.map((column, position) => new Column(column, data.values[position]));
    this.rows = this.columns[0].texts.map((_, row) => row);
    this.jobs = new Map(this.columns[0].texts.map((text, row) => [text, row]));
    const useful = this.columns.filter((column) => column.role !== "text" && column.role !== "job" && column.different.length);
    const metrics = useful.filter(({ role, numeric }) => role === "metric" && numeric);
    const keys = useful.filter(({ role, varies }) => role === "key" && varies);
    const first = keys.find(({ name }) => name === data.first) ?? keys[0];
    const second = keys.filter((column) => column !== first && !column.name.endsWith("seed"))[0];
    const start = { y: metrics[0]?.name, x: first?.name ?? metrics[1]?.name ?? this.columns[0].name, colour: second?.name ?? "", facet: "" };
    this.choices = { y: useful, x: [this.columns[0], ...useful], colour: useful, facet: useful.filter(({ different }) => different.length <= 40) };
    const names = new Set(this.columns.map(({ name }) => name));
    this.chosen = { ...start };
    for (const [name, value] of Object.entries(this.own)) if (!value || names.has(value)) this.chosen[name] = value;
    this.axes = [...keys.filter(({ name }) => !name.endsWith("seed")), ...keys.filter(({ name }) => name.endsWith("seed"))].slice(0, AXES - 2);
    const differing = metrics.filter(({ varies }) => varies);
    this.axes.push(...(differing.length ? differing : metrics).slice(0, Math.max(1, AXES - this.axes.length)).slice(0, 3));
    this.controls.hidden = !metrics.length;
    this.buildControls();
    this.curves.load(data.curves, data.fetchCurves);
    this.refresh();
  }
  column(name) { return this.columns.find((column) => column.name === name); }
  buildControls() {
    const shown = JSON.stringify([this.choices.y.map(({ name }) => name), this.choices.facet.map(({ name }) => name), this.chosen]);
    this.table.columns = this.columns;
    if (shown === this.shownChoices) return; // a list that is open stays so while the board brings new jobs
    this.shownChoices = shown;
    const labels = { y: "Metric", x: "Over", colour: "Colour", facet: "Panels" };
    const fields = Object.entries(labels).map(([name, label]) => {
      const none = name === "colour" || name === "facet" ? [make("option", { value: "", text: "none" })] : [];
      const select = make("select", { id: `choose-${name}`, on: { change: ({ target }) => { this.own[name] = this.chosen[name] = target.value; this.refresh(); } } }, ...none, ...this.choices[name].map(option));
      select.value = this.chosen[name] ?? "";
      return make("label", {}, `${label} `, select);
    });
    this.controls.replaceChildren(...fields);
    const table = this.filter.closest("p");
    table.parentElement.querySelector(".columns")?.remove();
    table.after(this.table.chooser());
  }
  pick(row) {
    const job = this.columns[0].texts[row];
    this.pickedJobs = this.pickedJobs.includes(job) ? this.pickedJobs.filter((other) => other !== job) : [...this.pickedJobs, job];
    this.refresh();
    if (this.pickedJobs.includes(job)) this.curves.host.scrollIntoView({ block: "nearest" });
  }
  refreshSoon() { // once before the next picture, however often a drag asks for it
    if (!this.waiting) requestAnimationFrame(() => { this.waiting = false; this.table.page = 0; this.refresh(); });
    this.waiting = true;
  }
  refresh() {
    const holds = conditions(this.filter.value, this.columns);
    this.parallel.columns = this.axes;
    const kept = this.rows.filter((row) => holds.every((condition) => condition(row)) && this.parallel.keeps(row));
    this.kept = new Set(kept);
    this.count.textContent = `${kept.length} of ${this.rows.length}`;
    const colour = this.column(this.chosen.colour);
    this.colours = coloursBy(colour);
    this.legend.replaceChildren(legendOf(colour, this.colours));
    this.parallel.show(this.axes, this.colours, (row) => this.kept.has(row));
    const clear = ([name, text]) => make("button", { type: "button", text: `${text} ✕`, attributes: { "aria-label": `${text}: remove` }, on: { click: () => this.parallel.clear(name) } });
    this.ranges.replaceChildren(...this.parallel.said.map(clear));
    this.scatter(kept);
    this.table.picked = new Set(this.pickedJobs.map((job) => this.jobs.get(job)));
    this.table.pick = this.curves.known ? (row) => this.pick(row) : null;
    this.table.show(this.columns, kept);
    this.curves.show({ rows: kept, job: (row) => this.columns[0].texts[row], colours: this.colours, name: (row) => this.inWords(row), picked: this.table.picked });
  }
  inWords(row) {
    const values = this.columns.filter(({ role, varies }) => role === "key" && varies).map(({ name, texts }) => `${name.split(".").pop()}=${texts[row]}`);
    return [`${this.columns[0].label} ${this.columns[0].texts[row]}`, ...values].join(", ");
  }
  scatter(kept) {
    const [x, y, facet] = [this.column(this.chosen.x), this.column(this.chosen.y), this.column(this.chosen.facet)];
    const facets = facet ? facet.different.slice(0, FACETS) : [null];
    while (this.panels.children.length > facets.length) this.panels.lastChild.remove();
    this.planes = (this.planes ?? []).slice(0, facets.length);
    if (!x || !y) {
      this.note.textContent = "No job has a result yet.";
      return;
    }
    const without = ({ label, values }) => {
      const missing = kept.filter((row) => Number.isNaN(values[row])).length;
      return missing ? `Without ${label}, and so not in the chart: ${missing} of these jobs.` : "";
    };
    const beyond = kept.filter((row) => x.isBeyond(row) || y.isBeyond(row)).length;
    this.note.textContent = [
      ...(x === y ? [x] : [x, y]).map(without),
      beyond ? `Beyond the axes, and drawn at their ends: ${beyond} of these jobs.` : "",
    ].join(" ").trim();
    const spread = x.different.length <= 30 && x.different.length < this.rows.length ? 1 : 0;
    facets.forEach((value, number) => {
      if (!this.planes[number]) {
        const host = make("div", { className: "chart" });
        const heading = make("h4", {});
        this.panels.append(make("div", {}, heading, host));
        this.planes[number] = Object.assign(new Plane(host, "", { pick: (row) => this.pick(row) }), { heading });
      }
      const plane = this.planes[number];
      plane.heading.textContent = facet ? `${facet.label}=${value}` : "";
      plane.frame.setAttribute("aria-label", `${y.label} over ${x.label}${facet ? `, ${facet.label}=${value}` : ""}; arrow keys step through the jobs`);
      const inside = (row) => (!facet || facet.texts[row] === value) && !Number.isNaN(x.values[row]) && !Number.isNaN(y.values[row]);
      const shift = (row) => (spread ? (((row * 7919) % 101) / 101 - 0.5) * 18 : 0);
      const marks = kept.filter(inside).map((row) => [x.values[row], y.values[row], `${this.inWords(row)}\n${y.label}: ${y.texts[row]}${x.role === "key" ? "" : `\n${x.label}: ${x.texts[row]}`}`, row, shift(row)]);
      const faded = this.rows.filter((row) => !this.kept.has(row) && inside(row));
      plane.show({ x: this.axis(x), y: this.axis(y), marks, draw: (context, place, ratio) => this.dots(context, place, ratio, marks, faded, x, y, shift) });
    });
  }
  axis({ label, padded, log, ticks }) { return { label, limits: padded, log, ticks }; }
  dots(context, place, ratio, marks, faded, x, y, shift) {
    const dot = (left, top, size) => { context.beginPath(); context.arc(left, top, size * ratio, 0, 2 * Math.PI); context.fill(); };
    context.fillStyle = css("--rule");
    for (const row of faded) dot(...place(x.values[row], y.values[row], shift(row)), 2);
    context.globalAlpha = marks.length > 1000 ? 0.5 : 0.8;
    for (const [left, top, , row, moved] of marks) {
      context.fillStyle = this.colours.of(row);
      dot(...place(left, top, moved), this.table.picked.has(row) ? 6 : 3);
    }
  }
}

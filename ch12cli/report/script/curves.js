// Learning curves: those of the jobs that are kept, or those that were picked, or the parts of a single run.

const DASHES = [[], [6, 3], [2, 2], [6, 2, 2, 2]];

// scale: auto, linear or log.
function seriesAxis(values, epochs, label, scale) {
  const above = finite(values).filter((value) => value > 0);
  const log = above.length > 0 && (scale === "log" || (scale === "auto" && isWide(values, SPREAD.metric)));
  const known = log ? above : finite(values);
  return {
    x: { label: "epoch", limits: epochs[0] === epochs[1] ? [epochs[0] - 0.5, epochs[1] + 0.5] : epochs, log: false, ticks: wholeTicks(epochs) },
    y: { label, limits: padded(limits(known, log, FLAT.curve), log), log },
  };
}

// The values, each a mean of those up to it with less weight for the earlier ones. weight: of the earlier, from 0 to 1.
function smoothed(values, weight) {
  let [sum, total] = [0, 0];
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    [sum, total] = [sum * weight + value, total * weight + 1];
    return sum / total;
  });
}

// Sets how curves are drawn: the scale of their values, and how much they are smoothed.
class CurveOptions {
  constructor(changed) {
    this.select = make("select", { on: { change: changed } }, ...["auto", "linear", "log"].map((name) => make("option", { value: name, text: name })));
    this.slider = make("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, on: { input: changed } });
    this.elements = [make("label", {}, "Scale ", this.select), make("label", {}, "Smoothing ", this.slider)];
  }
  get scale() { return this.select.value; }
  get weight() { return Number(this.slider.value); }
}

// Shows lines on a plane. lines: {epochs, values, colour, text, data, width, dash, alpha} each.
function showLines(plane, given, label, { scale, weight }) {
  const lines = given.map((line) => (weight ? { ...line, values: smoothed(line.values, weight) } : line));
  const epochs = range(lines.flatMap((line) => line.epochs));
  const marks = lines.flatMap((line, number) => line.epochs.map((epoch, place) => {
    const [value, exact] = [line.values[place], given[number].values[place]];
    return [epoch, value, `${line.text}\nepoch ${epoch}: ${asText(exact)}${weight ? `, smoothed ${asText(value)}` : ""}`, line.data];
  })).filter(([, value]) => Number.isFinite(value));
  if (!marks.length) return plane.host.replaceChildren(make("p", { className: "dim", text: "no epoch is known" }));
  const behind = weight && lines.length <= COLOURS ? given.map((line) => ({ ...line, alpha: 0.25 })) : [];
  const axes = seriesAxis((behind.length ? given : lines).flatMap((line) => line.values), epochs, label, scale);
  const draw = (context, place, ratio) => {
    for (const line of [...behind, ...lines]) {
      context.beginPath();
      let joined = false;
      line.epochs.forEach((epoch, index) => {
        if (!Number.isFinite(line.values[index]) || (axes.y.log && line.values[index] <= 0)) { joined = false; return; }
        const at = place(epoch, line.values[index]);
        if (joined) context.lineTo(...at); else context.moveTo(...at);
        joined = true;
      });
      Object.assign(context, { strokeStyle: line.colour(), lineWidth: (line.width ?? 2) * ratio, globalAlpha: line.alpha ?? 1 });
      context.setLineDash((line.dash ?? []).map((length) => length * ratio));
      context.stroke();
    }
  };
  plane.show({ ...axes, marks, draw });
}

class Curves {
  constructor(host) {
    Object.assign(this, { host, known: null, loaded: new Map() });
    this.note = make("p", { className: "dim" });
    this.select = make("select", { on: { change: () => this.show(this.shown) } });
    this.chart = make("div", { className: "chart" });
    this.legend = make("div", {});
    this.options = new CurveOptions(() => this.show(this.shown));
    host.append(make("h3", { text: "Learning curves" }), make("div", { className: "controls" }, make("label", {}, "Metric ", this.select), ...this.options.elements), this.chart, this.legend, this.note);
    this.plane = new Plane(this.chart, "learning curves; arrow keys step through the epochs", { height: 340, pick: (row) => this.pick?.(row) });
  }
  // curves: {columns, monitor, jobs: {job: [epochs, values of each column…]}}; fetch: gives those of more jobs, on the board.
  load(curves, fetch) {
    this.known = curves && curves.columns.length ? curves : null;
    this.fetch = fetch;
    this.host.hidden = !this.known;
    if (!this.known) return;
    this.loaded = new Map(Object.entries(curves.jobs));
    const before = this.select.value;
    this.select.replaceChildren(...curves.columns.map((name) => make("option", { value: name, text: curves.labels?.[name] ?? name })));
    this.select.value = curves.columns.includes(before) ? before : curves.monitor;
    if (!this.select.value) this.select.value = curves.columns[0];
  }
  show(shown) {
    this.shown = shown;
    if (!this.known) return;
    const { rows, job, colours, name, picked } = shown;
    const wanted = picked.size ? [...picked] : rows;
    const have = wanted.filter((row) => this.loaded.has(job(row)));
    const column = this.known.columns.indexOf(this.select.value) + 1;
    const several = have.length > 12;
    const step = Math.max(1, have.length / LINES); // evenly spaced ones of many
    const drawn = have.filter((_, number) => Math.floor(number / step) !== Math.floor((number - 1) / step));
    const apart = picked.size > 0 || (!colours.legend.length && drawn.length <= COLOURS); // a colour for each
    const lines = drawn.map((row, number) => {
      const curve = this.loaded.get(job(row));
      const line = { epochs: curve[0], values: curve[column].map((value) => value ?? NaN), text: name(row), data: row };
      const colour = apart ? () => css(`--line-${number % COLOURS}`) : () => colours.of(row);
      return { ...line, colour, width: several ? 1 : 2, alpha: several ? 0.6 : 1, dash: apart ? DASHES[Math.floor(number / COLOURS) % DASHES.length] : [] };
    });
    this.chart.hidden = !lines.length;
    if (lines.length) showLines(this.plane, lines, this.known.labels?.[this.select.value] ?? this.select.value, this.options);
    const named = apart && lines.length <= COLOURS ? lines.map((line) => [line.colour(), line.text]) : [];
    this.legend.replaceChildren(legendOf({ label: "" }, { legend: named }));
    const missing = wanted.length - have.length;
    const texts = [picked.size ? `Picked: ${have.map((row) => name(row)).join("; ")}.` : `The curves of ${lines.length} of ${rows.length} jobs. Pick jobs in the table or a chart to see only theirs.`];
    if (missing && picked.size) texts.push(this.known.absent);
    this.note.textContent = texts.join(" ");
    if (missing && this.fetch && have.length < LINES) this.fetchMore(wanted.filter((row) => !this.loaded.has(job(row))).slice(0, LINES).map(job));
  }
  async fetchMore(jobs) {
    if (this.fetching) return;
    this.fetching = true;
    try {
      const found = await this.fetch(jobs);
      const places = this.known.columns.map((name) => found.columns.indexOf(name) + 1);
      for (const name of jobs) {
        const [epochs, ...values] = found.jobs[name] ?? [[]];
        this.loaded.set(name, [epochs, ...places.map((place) => values[place - 1] ?? epochs.map(() => null))]);
      }
    } catch { return; } finally { this.fetching = false; }
    this.show(this.shown);
  }
}

// The curves of a single run: a chart for each metric, with a line for each part.
class RunCurves {
  constructor(host, curves) {
    this.host = host;
    this.planes = new Map();
    this.grid = make("div", { className: "panels" });
    this.options = new CurveOptions(() => this.refresh());
    host.append(make("div", { className: "controls" }, ...this.options.elements), this.grid);
    this.load({ curves });
  }
  refresh() { this.load({ curves: this.curves }); }
  load({ curves }) {
    this.curves = curves;
    const run = Object.values(curves.jobs)[0];
    if (!run || !run[0].length) return;
    const metrics = new Map();
    curves.columns.forEach((name, place) => {
      const [, part, metric] = name.match(/^(train|valid)_(.+)$/) ?? [null, "", name];
      metrics.set(part ? metric : curves.labels?.[name] ?? name, [...(metrics.get(metric) ?? []), [part, run[place + 1].map((value) => value ?? NaN)]]);
    });
    let number = 0;
    for (const [metric, parts] of metrics) {
      if (!this.planes.has(metric)) {
        const host = make("div", { className: "chart" });
        const legend = make("p", { className: "legend" });
        this.grid.append(make("div", {}, make("h4", { text: metric }), host, legend));
        this.planes.set(metric, [new Plane(host, `${metric} by epoch; arrow keys step through the epochs`), legend]);
      }
      const [plane, legend] = this.planes.get(metric);
      const names = { train: "training", valid: "validation" };
      const lines = parts.map(([part, values], place) => ({ epochs: run[0], values, text: `${names[part] ?? ""} ${metric}`.trim(), colour: () => css(`--line-${place}`), dash: DASHES[place] }));
      showLines(plane, lines, metric, this.options);
      if (parts.length > 1) legend.replaceWith(legendOf({ label: "" }, { legend: parts.map(([part], place) => [css(`--line-${place}`), names[part] ?? part]) }));
      this.planes.set(metric, [plane, legend.isConnected ? legend : this.grid.children[number].lastChild]);
      number++;
    }
  }
}

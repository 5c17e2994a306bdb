// The list of the runs and sweeps below a folder: the board sorts, filters and pages it.

const NUMBERS = ["epochs", "objective", "seconds"];
const HEADINGS = [
  ["when", "began"], ["path", "run"], ["kind", "kind"], ["status", "status"], ["epochs", "epochs or jobs"], ["objective", "objective"],
  ["test_accuracy", "on the test part"], ["tags", "tags"], ["seconds", "time"],
];

class RunList {
  constructor(host, data) {
    Object.assign(this, { data, page: 0, by: "when", down: true, chosen: new Set(), number: 0 });
    this.filter = make("input", { type: "search", id: "filter", on: { input: () => { this.page = 0; this.soon(); } } });
    this.count = make("span", { id: "count", attributes: { "aria-live": "polite" } });
    this.body = make("tbody", {});
    this.head = make("thead", {});
    this.pages = make("p", { className: "controls pages" });
    this.compare = make("button", { type: "button", text: "Compare", disabled: true, on: { click: () => this.open() } });
    const about = make("label", {}, "Filter: words, or as ", make("code", { text: "test_accuracy>0.95 and optimizer.lr<0.1" }), make("br", {}), this.filter);
    host.append(
      make("p", { className: "controls filter dim" }, about, " ", this.count),
      make("div", { className: "controls" }, this.compare, ...this.tagging()),
      make("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": "Runs and sweeps" } }, make("table", { className: "runs" }, this.head, this.body)),
      this.pages,
    );
    this.refresh();
    again(async () => { await this.load(); return true; });
  }
  tagging() {
    if (!this.data.write) return [];
    this.word = make("input", { type: "text", size: 16, attributes: { "aria-label": "Tag" } });
    const button = (text, name) => make("button", { type: "button", text, on: { click: () => this.tag(name) } });
    return [make("label", {}, "Tag the chosen: ", this.word), button("Add", "add"), button("Remove", "remove")];
  }
  async tag(name) {
    const words = this.word.value.split(/\s+/).filter(Boolean);
    if (!words.length || !this.chosen.size) return say("Choose runs, and write a tag.");
    try {
      for (const path of this.chosen) await ask(`/api/tags/${encoded(path)}`, { method: "POST", body: JSON.stringify({ [name]: words }) });
      this.word.value = "";
      await this.load();
    } catch (error) { say(error.message); }
  }
  open() { location.href = `/compare?${[...this.chosen].map((path) => `run=${encodeURIComponent(path)}`).join("&")}`; }
  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), 200);
  }
  refresh() { this.load().then(() => say(""), (error) => say(error.message)); }
  async load() {
    const number = ++this.number;
    const asked = new URLSearchParams({ filter: this.filter.value, sort: this.by, down: this.down ? 1 : 0, page: this.page });
    const found = await ask(`/api/runs?${asked}`);
    if (number !== this.number) return; // a later question was asked meanwhile
    const shown = JSON.stringify([found, this.by, this.down]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.show(found);
  }
  show({ rows, matching, all, size }) {
    const focused = this.head.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.count.textContent = `${matching} of ${all}`;
    const heading = ([name, text]) => {
      const cell = make("th", { scope: "col", className: NUMBERS.includes(name) ? "" : "text" }, make("button", { type: "button", text, on: { click: () => { this.down = this.by === name && !this.down; this.by = name; this.page = 0; this.refresh(); } } }));
      if (name === this.by) cell.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      return cell;
    };
    this.head.replaceChildren(make("tr", {}, make("td", { text: "" }), ...HEADINGS.map(heading)));
    this.body.replaceChildren(...rows.map((row) => this.line(row)));
    if (focused) [...this.head.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
    const last = Math.max(0, Math.ceil(matching / size) - 1);
    const turn = (text, by, disabled) => make("button", { type: "button", text, disabled, on: { click: () => { this.page += by; this.refresh(); } } });
    this.pages.hidden = last === 0;
    this.pages.replaceChildren(turn("Previous runs", -1, this.page <= 0), make("span", { text: `page ${this.page + 1} of ${last + 1}` }), turn("Next runs", 1, this.page >= last));
  }
  line(row) {
    const box = make("input", { type: "checkbox", checked: this.chosen.has(row.path), attributes: { "aria-label": `choose ${row.path}` }, on: { change: ({ target }) => this.choose(row, target.checked) } });
    const cells = HEADINGS.map(([name]) => {
      const cell = make("td", { className: NUMBERS.includes(name) ? "" : "text" });
      if (name === "path") cell.append(make("a", { text: row.path, href: `/run/${encoded(row.path)}` }));
      else if (name === "status") cell.append(make("span", { className: `status ${row.status}`, text: row.status }));
      else cell.textContent = row[name];
      return cell;
    });
    return make("tr", {}, make("td", {}, box), ...cells);
  }
  choose({ path }, checked) {
    if (checked) this.chosen.add(path); else this.chosen.delete(path);
    this.compare.disabled = this.chosen.size < 2;
    this.compare.textContent = this.chosen.size > 1 ? `Compare ${this.chosen.size}` : "Compare";
  }
}

function encoded(path) { return path.split("/").map(encodeURIComponent).join("/"); }

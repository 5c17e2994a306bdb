// The table of the jobs, a page of rows at a time: sorted by its headings, with the columns that are chosen.

const PAGE = 100; // rows

class Table {
  // pick: is called with a row whose curve is asked for. link: gives the address of a row's own page, or null.
  constructor(table, pick, link) {
    Object.assign(this, { table, pick, link, page: 0, hidden: new Set(), by: null, down: false, picked: new Set() });
    this.pages = make("p", { className: "controls pages" });
    table.parentElement.after(this.pages);
  }
  show(columns, rows) {
    this.columns = columns;
    this.rows = rows;
    this.render();
  }
  get shown() { return this.columns.filter(({ name }) => !this.hidden.has(name)); }
  sorted() {
    const column = this.columns.find(({ name }) => name === this.by);
    if (!column) return this.rows;
    const value = (row) => (column.numeric ? (Number.isNaN(column.values[row]) ? null : column.values[row]) : typed(column.texts[row]));
    const keyed = this.rows.map((row) => [value(row), row]);
    keyed.sort((a, b) => (a[0] === null || b[0] === null || !this.down ? compare(a[0], b[0]) : compare(b[0], a[0])));
    return keyed.map(([, row]) => row);
  }
  sort(name) {
    this.down = this.by === name && !this.down;
    this.by = name;
    this.page = 0;
    this.render();
  }
  render() {
    const named = (button) => button.getAttribute("aria-label") ?? button.textContent;
    const focused = this.table.contains(document.activeElement) ? named(document.activeElement) : null;
    this.renderRows(this.shown);
    if (focused !== null) [...this.table.querySelectorAll("button, a")].find((button) => named(button) === focused)?.focus();
  }
  renderRows(columns) {
    const head = columns.map((column) => {
      const button = make("button", { type: "button", text: column.name, on: { click: () => this.sort(column.name) } });
      const cell = make("th", { scope: "col", className: column.numeric ? "" : "text", attributes: { "data-column": column.name, "data-name": column.name.replace(/[._]/g, "$&\u200b") } }, button);
      if (column.name === this.by) cell.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      return cell;
    });
    this.table.tHead.replaceChildren(make("tr", {}, ...head));
    const rows = this.sorted();
    const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
    this.page = Math.min(this.page, last);
    const start = this.page * PAGE;
    this.table.tBodies[0].replaceChildren(...rows.slice(start, start + PAGE).map((row) => this.line(row, columns)));
    const turn = (text, by, disabled) => make("button", { type: "button", text, disabled, on: { click: () => { this.page += by; this.render(); } } });
    this.pages.hidden = last === 0;
    const end = Math.min(rows.length, start + PAGE);
    this.pages.replaceChildren(turn("Previous rows", -1, this.page === 0), make("span", { text: `rows ${start + 1} to ${end} of ${rows.length}` }), turn("Next rows", 1, this.page === last));
  }
  line(row, columns) {
    const cells = columns.map((column) => {
      const cell = make("td", { className: column.numeric ? "" : "text" });
      const address = column.role === "job" ? this.link(row) : null;
      if (address) cell.append(make("a", { text: column.texts[row], href: address }), " ");
      else if (column.role !== "job") cell.textContent = column.texts[row];
      if (column.role === "job" && this.pick) {
        const text = address ? "curve" : column.texts[row];
        const attributes = { "aria-pressed": String(this.picked.has(row)), "aria-label": `curve of ${column.label} ${column.texts[row]}` };
        cell.append(make("button", { type: "button", className: "pick", text, attributes, on: { click: () => this.pick(row) } }));
      } else if (column.role === "job" && !address) cell.textContent = column.texts[row];
      return cell;
    });
    return make("tr", { className: this.picked.has(row) ? "picked" : "" }, ...cells);
  }
  chooser() {
    const box = ({ name }) => make("label", {}, make("input", {
      type: "checkbox", checked: !this.hidden.has(name),
      on: { change: ({ target }) => { if (target.checked) this.hidden.delete(name); else this.hidden.add(name); this.render(); } },
    }), ` ${name}`);
    return make("details", { className: "columns" }, make("summary", { text: "Columns" }), make("div", { className: "boxes" }, ...this.columns.map(box)));
  }
}

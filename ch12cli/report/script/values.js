"use strict";
// The columns of a table: numbers or texts, their order, and their place along an axis.

const SPREAD = { key: 20, metric: 100 }; // from this ratio of largest to smallest on, an axis is logarithmic
const FEW = 12; // so many different values may all be labelled
const FLAT = { metric: 20, curve: 1000 }; // times the range of the middle 60 %, from which a longer axis leaves outliers out
const FEWEST = 10; // values from which some can be outliers of the others
const BETTER = 3; // times that a logarithmic axis must be less flat than a linear one that is flat

function finite(values) {
  return values.filter(Number.isFinite);
}

function range(values) { // Math.min(...values) fails for many values
  return values.reduce(([low, high], each) => [Math.min(low, each), Math.max(high, each)], [Infinity, -Infinity]);
}

function short(text, most = 18) {
  return text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(1 - Math.floor(most / 2))}`;
}

function asText(value) {
  if (!Number.isFinite(value)) return "";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) return value.toExponential(3).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

class Column {
  constructor({ name, label, role }, values) {
    Object.assign(this, { name, label: label ?? name, role });
    this.texts = values.map((value) => (value === null ? "" : String(value)));
    const numbers = this.texts.map((text) => (text.trim() === "" ? NaN : Number(text)));
    const known = this.texts.filter((text) => text !== "");
    this.numeric = known.length > 0 && numbers.filter((number) => !Number.isNaN(number)).length === known.length;
    this.different = [...new Set(known)];
    if (this.numeric) this.different.sort((a, b) => Number(a) - Number(b));
    this.log = this.numeric && isWide(numbers, SPREAD[role] ?? SPREAD.metric, role !== "key");
    this.named = !this.numeric || (role === "key" && isUneven(this.different.map(Number), this.log)); // each value has a place
    if (this.named) this.log = false;
    const positions = new Map(this.different.map((text, position) => [text, position]));
    this.values = this.named ? this.texts.map((text) => positions.get(text) ?? NaN) : numbers;
    this.whole = !this.named && this.values.every((value) => Number.isNaN(value) || Number.isInteger(value));
    this.limits = this.named ? [-0.5, this.different.length - 0.5] : limits(this.values, this.log);
  }
  // The limits with room for the marks at the ends.
  get padded() {
    return this.named ? this.limits : padded(this.limits, this.log);
  }
  get varies() { return this.different.length > 1; }
  // 0 at the low end of the axis, 1 at the high end; NaN without a value. What lies beyond the limits is at the end.
  share(row) {
    const [low, high] = this.log ? this.limits.map(Math.log10) : this.limits;
    const value = this.log ? Math.log10(this.values[row]) : this.values[row];
    return Number.isNaN(value) ? NaN : Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  }
  isBeyond(row) { return this.values[row] < this.limits[0] || this.values[row] > this.limits[1]; }
  // The value at a share of the axis.
  at(share) {
    const [low, high] = this.log ? this.limits.map(Math.log10) : this.limits;
    const value = low + (high - low) * share;
    return this.log ? 10 ** value : value;
  }
  // The text of the value at a share of the axis.
  textAt(share) {
    const value = this.at(share);
    if (this.named) return this.different[Math.max(0, Math.min(this.different.length - 1, Math.round(value)))] ?? "";
    return asText(this.whole ? Math.round(value) : value);
  }
  get ticks() {
    if (this.named) return this.different.length <= 40 ? this.different.map((text, position) => [position, short(text)]) : [];
    if (this.different.length <= FEW && this.role === "key") return this.different.map((text) => [Number(text), short(text)]);
    return null; // round numbers
  }
}

// Whether a few numbers lie so unevenly on an axis that some could not be told apart.
function isUneven(numbers, log) {
  if (numbers.length > FEW) return false;
  const places = log ? numbers.map(Math.log10) : numbers;
  const gaps = places.slice(1).map((place, number) => place - places[number]);
  return Math.max(...gaps) > 8 * Math.min(...gaps);
}

function padded([low, high], log) {
  const [from, to] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
  const room = (to - from) * 0.04 || Math.abs(from) * 0.1 || 0.5;
  return [from - room, to + room].map((place) => (log ? 10 ** place : place));
}

// The ticks of a logarithmic axis: powers of ten, with 2 and 5 between few of them.
function logTicks([low, high]) {
  const decades = Math.log10(high / low);
  const [parts, step] = [decades > 2.5 ? [1] : decades > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8], Math.ceil(decades / 8)];
  const first = Math.floor(Math.log10(low) / step) * step;
  const found = [];
  for (let power = first; power <= Math.log10(high); power += step) found.push(...parts.map((part) => Number(`${part}e${power}`)));
  const inside = found.filter((value) => value >= low && value <= high);
  return inside.length > 1 ? inside.map((value) => [value, asText(value)]) : null;
}

// The ticks of an axis of whole numbers: the first, and round ones after it.
function wholeTicks([low, high]) {
  const least = (high - low) / 8;
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  const step = Math.max(1, high - low <= 12 ? 1 : power * [1, 2, 5, 10].find((part) => part * power >= least));
  const found = [low];
  for (let value = Math.ceil((low + step / 2) / step) * step; value <= high; value += step) found.push(value);
  return found.map((value) => [value, String(value)]);
}

// The ends of the middle 60 % of sorted places.
function middle(places) {
  return [places[Math.ceil(0.2 * (places.length - 1))], places[Math.floor(0.8 * (places.length - 1))]];
}

// The ratio of the whole range of sorted places to that of the middle ones, at least `least`; 0 if that is empty.
function flatness(places, least = 0) {
  const [near, far] = middle(places);
  const span = Math.max(far - near, least);
  return span > 0 ? (places[places.length - 1] - places[0]) / span : 0;
}

// Whether an axis is logarithmic: for its range, or because it is far less flat than a linear one.
function isWide(values, spread, orFlat = true) {
  const known = Float64Array.from(finite(values)).sort();
  if (!known.length || known[0] <= 0) return false;
  if (known[known.length - 1] / known[0] >= spread) return true;
  return orFlat && flatness(known) > Math.max(FLAT.metric, BETTER * flatness(known.map(Math.log10)));
}

// The range of an axis. A few outliers among many values, which would flatten all others, are left out.
function limits(values, log, flat = FLAT.metric) {
  const known = Float64Array.from(finite(values)).filter((value) => value > 0 || !log).sort();
  if (!known.length) return [0, 1];
  const places = log ? known.map(Math.log10) : known;
  if (places.length < FEWEST || flatness(places, log ? 1 : 0) <= flat) return [known[0], known[known.length - 1]];
  const [near, far] = middle(places);
  const reach = 3 * Math.max(far - near, log ? 1 : 0);
  const kept = known.filter((_, number) => places[number] >= near - reach && places[number] <= far + reach);
  return [kept[0], kept[kept.length - 1]];
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function typed(text) {
  const trimmed = text.trim();
  const number = Number(trimmed);
  return trimmed === "" ? null : Number.isNaN(number) ? trimmed.toLowerCase() : number;
}

const SIGNS = {
  "<": (c) => c < 0, "<=": (c) => c <= 0, ">": (c) => c > 0, ">=": (c) => c >= 0, "=": (c) => c === 0, "!=": (c) => c !== 0,
};

// The conditions of a filter: words that a row contains, and comparisons of a column, as in lr<0.01.
function conditions(text, columns) {
  return text.trim().split(/\s+/).filter((word) => word && word !== "and").map((word) => {
    const found = word.match(/^(.+?)(<=|>=|!=|=|<|>)(.+)$/);
    const column = found && columns.find(({ name }) => name === found[1] || name.endsWith(`.${found[1]}`));
    if (!column) {
      const wanted = word.toLowerCase();
      return (row) => columns.some(({ texts }) => texts[row].toLowerCase().includes(wanted));
    }
    const wanted = typed(found[3]);
    return (row) => {
      const value = typed(column.texts[row]);
      return value !== null && typeof value === typeof wanted && SIGNS[found[2]](compare(value, wanted));
    };
  });
}

// An element. Text is never taken for HTML.
function make(tag, properties = {}, ...children) {
  const { text, attributes = {}, on = {}, ...others } = properties;
  const element = Object.assign(document.createElement(tag), others);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Data of the run, and what every page needs: numbers, elements, settings.

const TYPES = {Uint8Array, Uint16Array, Int16Array, Int32Array, Float32Array, Float64Array};
const data = JSON.parse(document.getElementById("data").textContent);

function decodeAll(columns) {
  return Object.fromEntries(Object.entries(columns).map(([name, [type, text]]) => {
    if (!type) return [name, null]; // no known value
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return [name, new TYPES[type](bytes.buffer)];
  }));
}

function valueOf(column, row) {
  return column ? column[row] : NaN;
}

function byId(name) {
  return document.getElementById(name);
}

function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name);
}

function font(size) {
  return `${size}px ${getComputedStyle(document.body).fontFamily}`;
}

function format(number) {
  return number.toLocaleString("en-US");
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

// Resize a canvas to its size in device pixels and clear it.
function prepareCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Names from the run are only ever set as textContent, so they are never parsed as HTML.
function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function decimal(value, places) {
  if (!Number.isFinite(value)) return "–";
  const text = value.toFixed(places);
  return +text ? text.replace("-", "−") : text.replace("-", ""); // 0.00, not −0.00
}

function showTooltip(text, x, y) {
  const tooltip = byId("tooltip");
  tooltip.hidden = !text;
  if (!text) return;
  tooltip.textContent = text;
  const box = tooltip.getBoundingClientRect();
  tooltip.style.left = Math.max(4, Math.min(window.innerWidth - box.width - 4, x + 14)) + "px";
  const below = y + 18 + box.height < window.innerHeight;
  tooltip.style.top = Math.max(4, below ? y + 18 : y - box.height - 10) + "px";
}

// Show the counts of the run, [name, number or text]; unknown ones are left out.
function showCounts(counts) {
  for (const [name, count] of counts) {
    if (count === undefined) continue;
    const item = element("div");
    const noun = count === 1 ? name.replace(/(?<=x)es$|s$/, "") : name;
    item.append(element("dt", noun), element("dd", typeof count === "number" ? format(count) : count));
    byId("counts").append(item);
  }
}

// Return a link to a file by its path relative to the page.
function linkTo(path, text) {
  const link = element("a", text);
  link.href = "./" + path.split("/").map(encodeURIComponent).join("/");
  return link;
}

// List what the user should know of the run, and its settings.
function showSettings(summary) {
  const notes = [];
  if (summary.complete === false) {
    notes.push("The run was interrupted; this page shows the results up to then.");
  }
  for (const skipped of summary.skipped || []) notes.push("Skipped: " + skipped);
  if (data.note) notes.push("To limit the size of this page, " + data.note + ".");
  byId("notes").append(...notes.map((note) => element("li", note)));
  const settings = Object.entries(summary.settings || {});
  const single = settings.filter(([, value]) => !isGroup(value));
  if (single.length) byId("settings").append(definitions(single));
  for (const [name, group] of settings.filter(([, value]) => isGroup(value))) {
    const details = element("details");
    details.open = window.innerWidth > 860;
    details.append(element("summary", name), definitions(Object.entries(group)));
    byId("settings").append(details);
  }
}

function isGroup(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function definitions(entries) {
  const list = element("dl");
  for (const [name, value] of entries) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    list.append(element("dt", name), element("dd", value === null ? "–" : text));
  }
  return list;
}

// Offer the sequences for selection, or show the name of the only one.
function showNames(names) {
  byId("sequence").append(...names.map((name) => element("option", name)));
  byId("sequences").hidden = names.length === 1;
  byId("name").hidden = names.length > 1;
  byId("name").textContent = names[0];
  document.title = `${names.length === 1 ? names[0] : names.length + " sequences"}, patchmatch report`;
}

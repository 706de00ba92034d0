// Texts: the table of a pair, the tooltip, and the settings of the run.

const MAX_LISTED = 200; // rows of the table; more would slow down stepping through the pairs
const COLUMNS = [ // name, function that returns the text of a row
  ["row", null],
  ["kind", null],
  ["x0", (row) => rows.x0[row]],
  ["y0", (row) => rows.y0[row]],
  ["x1", (row) => rows.x1[row]],
  ["y1", (row) => rows.y1[row]],
  ["dx", (row) => decimal(valueOf(rows.dx, row), 2)],
  ["dy", (row) => decimal(valueOf(rows.dy, row), 2)],
  ["score", (row) => decimal(scoreOf(rows.score, row), 4)],
  ["confidence", (row) => decimal(scoreOf(rows.confidence, row), 4)],
  ["matched", (row) => (rows.matched[row] ? "yes" : "no")],
  ["camera dx", (row) => decimal(valueOf(rows.camera_dx, row), 2)],
  ["camera dy", (row) => decimal(valueOf(rows.camera_dy, row), 2)],
  ["area", (row) => format(rows.area[row])],
].filter(([name]) => (name !== "area" || rows.area) && (!name.startsWith("camera") || rows.camera_dx));

// Names from the run are only ever set as textContent, so they are never parsed as HTML.
function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function decimal(value, places) {
  return Number.isFinite(value) ? value.toFixed(places).replace("-", "−") : "–";
}

function csvRow(row, pair) {
  return firstCsvRow[pair] + row - firstRow[pair];
}

function updateTable(pair) {
  const visible = visibleRows(pair), stored = firstRow[pair + 1] - firstRow[pair];
  byId("rows").replaceChildren(...visible.slice(0, MAX_LISTED).map((row) => tableRow(row, pair)));
  const isFiltered = visible.length < stored;
  byId("shown").textContent = isFiltered ? `${format(visible.length)} of ${format(stored)}` : format(stored);
  const notes = [];
  if (visible.length > MAX_LISTED) {
    notes.push(`${format(visible.length - MAX_LISTED)} more boxes are drawn but not listed.`);
  }
  if (pairs.boxes[pair] > stored) {
    const all = format(pairs.boxes[pair]);
    notes.push(`This page contains the first ${format(stored)} of ${all} boxes; changes.csv lists all.`);
  }
  byId("tableNotes").textContent = notes.join(" ");
}

function tableRow(row, pair) {
  const line = element("tr"), number = csvRow(row, pair), layer = rows.layer[row];
  line.dataset.row = row;
  for (const [name, text] of COLUMNS) {
    const cell = element("td", text ? text(row) : "");
    if (name === "row") {
      const link = element("a", number);
      link.href = `changes.csv#row=${number}`; // RFC 7111
      link.title = `Row ${number} of changes.csv; the header is row 1`;
      cell.append(link);
    } else if (name === "kind") {
      cell.append(element("span", "", "mark " + LAYERS[layer]), labelOf(layer));
    }
    line.append(cell);
  }
  return line;
}

function tooltipText(row, pair) {
  const motion = Number.isFinite(valueOf(rows.dx, row))
    ? `displacement (${decimal(rows.dx[row], 2)}, ${decimal(rows.dy[row], 2)}) px`
    : rows.matched[row] ? "displacement unknown" : "unmatched";
  const lines = [
    `${labelOf(rows.layer[row])}, score ${decimal(scoreOf(rows.score, row), 4)}`,
    motion,
    `confidence ${decimal(scoreOf(rows.confidence, row), 4)}`,
    `x ${rows.x0[row]} to ${rows.x1[row]}, y ${rows.y0[row]} to ${rows.y1[row]}`,
    `row ${csvRow(row, pair)} of changes.csv`,
  ];
  return lines.join("\n");
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

function showRun() {
  const summary = data.summary;
  const counts = [["pairs", summary.pairs ?? pairCount], ["boxes", summary.rows]];
  for (const [kind, count] of countKinds(summary)) counts.push([kind.replace("_", " "), count]);
  if (summary.seconds !== undefined) counts.push(["s", summary.seconds]);
  for (const [name, count] of counts) {
    if (count === undefined) continue;
    const item = element("div");
    item.append(element("dt", name), element("dd", typeof count === "number" ? format(count) : count));
    byId("counts").append(item);
  }
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

// Count the boxes of each layer; if this page omits boxes, return the counts of the summary.
function countKinds(summary) {
  if (firstRow[pairCount] !== pairs.boxes.reduce((sum, count) => sum + count, 0)) {
    return Object.entries(summary.kinds || {});
  }
  const counts = LAYERS.map(() => 0);
  for (const layer of rows.layer) counts[layer]++;
  return LAYERS.map((name, layer) => [name, counts[layer]]).filter(([, count]) => count);
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

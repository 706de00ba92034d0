// Data of the run: typed arrays decoded from base64, and thumbnails decoded on demand.

const TYPES = {Uint8Array, Uint16Array, Int16Array, Int32Array, Float32Array, Float64Array};
const UNKNOWN = 65535; // of fixed-point values, in units of 1/10000
const data = JSON.parse(document.getElementById("data").textContent);
const pairs = decodeAll(data.pairs);
const rows = decodeAll(data.rows);
const LAYERS = data.layers; // each row has an index into it; each name is a color of page.css

function decodeAll(columns) {
  return Object.fromEntries(Object.entries(columns).map(([name, [type, text]]) => {
    if (!type) return [name, null]; // no known value
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return [name, new TYPES[type](bytes.buffer)];
  }));
}

const pairCount = pairs.boxes.length;
const firstRow = new Int32Array(pairCount + 1); // first row of each pair on this page
const firstCsvRow = new Int32Array(pairCount); // first row of each pair in changes.csv
for (let pair = 0, next = 2; pair < pairCount; pair++) { // the csv header is row 1
  firstRow[pair + 1] = firstRow[pair] + Math.min(pairs.boxes[pair], data.maxRows);
  firstCsvRow[pair] = next;
  next += pairs.boxes[pair];
}

const sequences = []; // each {name, pairs: indices of its pairs}
{
  const byName = new Map();
  for (let pair = 0; pair < pairCount; pair++) {
    const name = pairs.source[pair];
    if (!byName.has(name)) byName.set(name, sequences.push({name: data.names[name], pairs: []}) - 1);
    sequences[byName.get(name)].pairs.push(pair);
  }
}

// Thumbnails show later frames; an earlier frame uses that of the pair where it is the later one.
const thumbnailOfFrame = new Map();
for (let pair = 0; pair < pairCount; pair++) {
  thumbnailOfFrame.set(pairs.source[pair] + "/" + pairs.frame1[pair], pairs.thumbnail[pair]);
}
function earlierThumbnail(pair) {
  return thumbnailOfFrame.get(pairs.source[pair] + "/" + pairs.frame0[pair]);
}

function scoreOf(column, row) {
  return column[row] === UNKNOWN ? NaN : column[row] / 10000;
}

function valueOf(column, row) {
  return column ? column[row] : NaN;
}

function timeOf(pair) {
  return valueOf(pairs.time1, pair);
}

// Script elements after this one hold one thumbnail per line. Recent elements stay split.
const elements = new Map();
const images = new Map();

function linesOf(number) {
  if (!elements.has(number)) {
    const element = document.getElementById("thumbnails-" + number);
    // While the page is loading, the last element may be incomplete.
    if (!element || (document.readyState === "loading" && !element.nextElementSibling)) return null;
    if (elements.size > 8) elements.delete(elements.keys().next().value);
    elements.set(number, element.textContent.split("\n"));
  }
  return elements.get(number);
}

function waitForParser() {
  if (document.readyState !== "loading") return Promise.resolve();
  return new Promise((resolve) => setTimeout(resolve, 20));
}

// Return a thumbnail as an image, null if it is not stored.
async function loadThumbnail(index) {
  if (index === undefined) return null;
  if (images.has(index)) return images.get(index);
  let lines;
  while (!(lines = linesOf(Math.floor(index / data.thumbnailsPerElement)))) {
    if (document.readyState !== "loading") return null;
    await waitForParser();
  }
  const text = lines[index % data.thumbnailsPerElement];
  let image = null;
  if (text) {
    image = new Image();
    image.src = "data:image/jpeg;base64," + text;
    try {
      await image.decode();
    } catch {
      image = null;
    }
  }
  if (images.size > 40) images.delete(images.keys().next().value);
  images.set(index, image);
  return image;
}

// The data of the run: typed arrays decoded from base64, and pictures decoded when they are shown.

const TYPES = {Uint8Array, Uint16Array, Int16Array, Int32Array, Float32Array, Float64Array};
const UNKNOWN = 65535; // of scores, which come in ten-thousandths
const data = JSON.parse(document.getElementById("data").textContent);
const pairs = decodeAll(data.pairs);
const rows = decodeAll(data.rows);
const LAYERS = data.layers; // a box has an index of it
const COLORS = ["still", "one", "larger", "lost"]; // variables of the style, in the same order

function decodeAll(columns) {
  return Object.fromEntries(Object.entries(columns).map(([name, [type, text]]) => {
    if (!type) return [name, null]; // nothing is known
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return [name, new TYPES[type](bytes.buffer)];
  }));
}

const pairCount = pairs.boxes.length;
const first = new Int32Array(pairCount + 1); // the first row of each pair, as they are kept here
const record = new Int32Array(pairCount); // its row in changes.csv; the header is row 1
for (let pair = 0, next = 2; pair < pairCount; pair++) {
  first[pair + 1] = first[pair] + Math.min(pairs.boxes[pair], data.most);
  record[pair] = next;
  next += pairs.boxes[pair];
}

const sequences = []; // each {name, pairs: the indices of its pairs}
{
  const byName = new Map();
  for (let pair = 0; pair < pairCount; pair++) {
    const name = pairs.source[pair];
    if (!byName.has(name)) byName.set(name, sequences.push({name: data.names[name], pairs: []}) - 1);
    sequences[byName.get(name)].pairs.push(pair);
  }
}

// The pair in which the earlier frame of a pair is the later one, to borrow its picture.
const shotOfFrame = new Map();
for (let pair = 0; pair < pairCount; pair++) {
  shotOfFrame.set(pairs.source[pair] + "/" + pairs.frame1[pair], pairs.shot[pair]);
}
function earlierShot(pair) {
  return shotOfFrame.get(pairs.source[pair] + "/" + pairs.frame0[pair]);
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

// Pictures come in elements of many lines, after this script. The last ones split stay split.
const chunks = new Map();
const pictures = new Map();

function linesOf(number) {
  if (!chunks.has(number)) {
    const element = document.getElementById("shots-" + number);
    // While the page is still being read, an element may have come in part.
    if (!element || (document.readyState === "loading" && !element.nextElementSibling)) return null;
    if (chunks.size > 8) chunks.delete(chunks.keys().next().value);
    chunks.set(number, element.textContent.split("\n"));
  }
  return chunks.get(number);
}

function parsed() {
  if (document.readyState !== "loading") return Promise.resolve();
  return new Promise((done) => setTimeout(done, 20));
}

// Give the image of a shot, null where there is none.
async function pictureOf(shot) {
  if (shot === undefined) return null;
  if (pictures.has(shot)) return pictures.get(shot);
  let lines;
  while (!(lines = linesOf(Math.floor(shot / data.shotsAtOnce)))) {
    if (document.readyState !== "loading") return null;
    await parsed();
  }
  const text = lines[shot % data.shotsAtOnce];
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
  if (pictures.size > 40) pictures.delete(pictures.keys().next().value);
  pictures.set(shot, image);
  return image;
}

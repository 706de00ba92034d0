// Thumbnails of the frames, decoded on demand.

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

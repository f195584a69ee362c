"use strict";

// Sorting: a press on a heading sorts by its column, best first; a second press turns it round.
// Rows without a value, those of explainers that failed among them, stay last either way.
function sortTable(table, header) {
  const column = header.cellIndex;
  const opposite = { ascending: "descending", descending: "ascending" };
  const order = opposite[header.getAttribute("aria-sort")] ?? header.dataset.first;
  const sign = order === "ascending" ? 1 : -1;
  const numeric = header.classList.contains("number");
  const value = (row) => row.cells[column]?.dataset.value || null;
  const compare = (a, b) => (numeric ? a - b : a.localeCompare(b));
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * compare(x, y);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    header.querySelector("button").addEventListener("click", () => sortTable(table, header));
  }
}

// Curves: at rest all lines show, with the bands of the emphasised ones; a curve or a name that is
// pointed at stands out with its own band.
for (const figure of document.querySelectorAll(".curves")) {
  const plot = figure.querySelector(".plotly-graph-div");
  const hidden = new Set();

  const opacity = ({ meta }, focus) => {
    if (focus === null) return !meta.band || meta.emphasised ? 1 : 0;
    if (meta.explainer === focus) return 1;
    return meta.band ? 0 : 0.15;
  };
  const focusOn = (name) =>
    Plotly.restyle(plot, { opacity: plot.data.map((trace) => opacity(trace, name)) });

  plot.on("plotly_hover", (event) => focusOn(event.points[0].data.meta.explainer));
  plot.on("plotly_unhover", () => focusOn(null));
  for (const button of figure.querySelectorAll(".key button")) {
    const name = button.dataset.explainer;
    for (const event of ["pointerenter", "focus"]) {
      button.addEventListener(event, () => focusOn(hidden.has(name) ? null : name));
    }
    for (const event of ["pointerleave", "blur"]) {
      button.addEventListener(event, () => focusOn(null));
    }
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      Plotly.restyle(plot, { visible: plot.data.map(({ meta }) => !hidden.has(meta.explainer)) });
      focusOn(hidden.has(name) ? null : name);
    });
  }
}

document.getElementById("size")?.addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--cell", `${event.target.value}px`);
});
document.getElementById("size")?.dispatchEvent(new Event("input"));

// One image at a time: the maps' places in their palettes are here, and are drawn when chosen.
for (const browser of document.querySelectorAll(".browser")) {
  const data = JSON.parse(document.getElementById("images").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const [chosen, masked] = [browser.querySelector("#chosen"), browser.querySelector("#masked")];
  const [height, width] = data.size;
  const palettes = { true: bytes(data.palettes.true), false: bytes(data.palettes.false) };
  const cards = browser.querySelector(".cards");
  const card = (title, ...parts) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    // Long names break behind their underscores.
    caption.textContent = title.replaceAll("_", "_\u200b");
    figure.append(caption, ...parts);
    cards.append(figure);
  };
  const canvas = (w, h) => Object.assign(document.createElement("canvas"), { width: w, height: h });

  const original = document.createElement("img");
  card("image", original);
  const drawn = data.names.map((name) => {
    const [h, w] = data.sizes[name];
    const [map, left] = [canvas(w, h), canvas(width, height)];
    left.setAttribute("role", "img");
    map.setAttribute("role", "img");
    card(`${name} ${data.signed[name] ? "±" : "+"}`, map, left);
    return { name, map, left, w, h };
  });

  function drawMap({ name, map, w, h }, indices) {
    const [context, colors] = [map.getContext("2d"), palettes[data.signed[name]]];
    const picture = context.createImageData(w, h);
    indices.forEach((index, i) => {
      for (let c = 0; c < 3; c++) picture.data[4 * i + c] = colors[3 * index + c];
      picture.data[4 * i + 3] = 255;
    });
    context.putImageData(picture, 0, 0);
    map.setAttribute("aria-label", `what ${name} says`);
  }

  // Among pixels of equal relevance the order is arbitrary, and not that of their places.
  const lot = (i) => Math.imul(i + 1, 0x9e3779b1) >>> 0;
  function drawLeft({ name, left, w, h }, indices, share) {
    const order = [...indices.keys()].sort((a, b) => indices[a] - indices[b] || lot(a) - lot(b));
    const hidden = new Uint8Array(indices.length);
    for (const i of order.slice(0, Math.round(share * order.length))) hidden[i] = 1;
    const context = left.getContext("2d");
    context.drawImage(original, 0, 0, width, height);
    context.fillStyle = "#808080";
    const [dx, dy] = [width / w, height / h];
    hidden.forEach((is, i) => {
      if (is) context.fillRect((i % w) * dx, Math.floor(i / w) * dy, dx, dy);
    });
    left.setAttribute("aria-label", `the image with what ${name} finds relevant`);
  }

  async function draw() {
    const row = Number(chosen.value);
    browser.querySelector("output").textContent = `${masked.value} %`;
    original.src = data.pictures[row];
    original.alt = `image ${row + 1}: ${data.titles[row]}`;
    await original.decode();
    for (const each of drawn) {
      const indices = bytes(data.maps[each.name][row]);
      drawMap(each, indices);
      drawLeft(each, indices, masked.value / 100);
    }
  }
  for (const button of browser.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      const n = data.titles.length;
      chosen.value = (Number(chosen.value) + Number(button.dataset.step) + n) % n;
      draw();
    });
  }
  for (const control of [chosen, masked]) control.addEventListener("input", draw);
  draw();
}

// Plots are drawn while the page is read, when what stands beside them has no width yet, and some
// are folded away.
for (const plot of document.querySelectorAll(".plotly-graph-div")) {
  const folded = plot.closest("details");
  if (folded === null) Plotly.Plots.resize(plot);
  folded?.addEventListener("toggle", () => folded.open && Plotly.Plots.resize(plot));
}

// On a phone the results come first.
if (matchMedia("(max-width: 760px)").matches) {
  for (const details of document.querySelectorAll(".fold")) details.open = false;
}

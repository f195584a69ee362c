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

// Plots are drawn while the page is read, when what stands beside them has no width yet.
for (const plot of document.querySelectorAll(".plotly-graph-div")) Plotly.Plots.resize(plot);

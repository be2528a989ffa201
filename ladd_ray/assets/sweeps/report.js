"use strict";

// Charts take their colours from the page, so that they follow its light and dark.
function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, line, card] = ["--ink", "--soft", "--line", "--card"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickfont: { color: soft }, automargin: true };
  return {
    margin: { l: 60, r: 20, t: 10, b: 50 },
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "system-ui, sans-serif", size: 12 },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
    annotations: layout.annotations?.map((note) => ({ bgcolor: `${card}b0`, ...note })),
    dragmode: false,
  };
}

function draw() {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  for (const { id, data, layout } of charts) {
    Plotly.react(id, data, themed(layout), { responsive: true, displayModeBar: false });
  }
}

function valueOf(row, column) {
  const text = row.cells[column].dataset.value;
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text : number;
}

function sortBy(table, column, falling) {
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => {
    const [a, b] = [valueOf(one, column), valueOf(other, column)];
    // What has no value stands last, whichever way the table is sorted.
    if (a === null || b === null) return (a === null) - (b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * (falling ? -1 : 1);
  });
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    if (place === column) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function sortable(table) {
  const key = `sorted ${location.pathname}`;
  const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
  if (kept) sortBy(table, kept.column, kept.falling);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      sortBy(table, column, falling);
      sessionStorage.setItem(key, JSON.stringify({ column, falling }));
    });
  });
}

function refreshing(switchBox) {
  switchBox.checked = sessionStorage.getItem("refresh") !== "off";
  switchBox.addEventListener("change", () => sessionStorage.setItem("refresh", switchBox.checked ? "on" : "off"));
  setInterval(() => {
    if (switchBox.checked && !document.hidden) location.reload();
  }, 1000 * Number(switchBox.dataset.seconds));
}

// A sweep that was killed cannot say so.
function tellSilence(state) {
  const minutes = Math.floor((Date.now() - Date.parse(state.dataset.written)) / 60000);
  if (state.classList.contains("running") && minutes >= 10) {
    state.textContent = `nothing new for ${minutes} minutes`;
    state.classList.replace("running", "stopped");
  }
}

document.querySelectorAll("#state").forEach(tellSilence);
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("input.refresh").forEach(refreshing);
if (window.Plotly) {
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

"use strict";

// Another recipe or space has other fields.
document.querySelectorAll("select.reload").forEach((select) => {
  select.addEventListener("change", () => {
    const chosen = [...document.querySelectorAll("select.reload")].map(({ name, value }) => [name, value]);
    location.href = `/?${new URLSearchParams(chosen)}`;
  });
});

document.querySelectorAll("pre.log").forEach((log) => {
  log.scrollTop = log.scrollHeight;
});

document.querySelectorAll("input.refresh").forEach((box) => {
  box.checked = sessionStorage.getItem("refresh") !== "off";
  box.addEventListener("change", () => sessionStorage.setItem("refresh", box.checked ? "on" : "off"));
  setInterval(() => {
    if (box.checked && !document.hidden) location.reload();
  }, 1000 * Number(box.dataset.seconds));
});

"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const rows = Array.from(document.querySelectorAll("#changes tbody tr"), (row) => ({
    row,
    action: row.dataset.action,
    blueprint: row.children[1].textContent,
    text: row.textContent.toLowerCase(),
  }));
  const shown = document.getElementById("shown");
  const apply = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const action = form.elements.action.value;
    const blueprint = form.elements.blueprint.selectedIndex ? form.elements.blueprint.value : null;
    let count = 0;
    for (const one of rows) {
      const fits =
        (!action || one.action === action) &&
        (blueprint === null || one.blueprint === blueprint) &&
        words.every((word) => one.text.includes(word));
      one.row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();

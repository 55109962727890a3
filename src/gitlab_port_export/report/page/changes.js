"use strict";
// Lists all changes in pages, with a filter. Where this may not run, the page shows some of them as they are.
(async () => {
  const PAGE = 100;
  // Of so many new entities the fields are open, as in the page without this script.
  const MOST_NEW = 5;
  const form = document.getElementById("filter");
  if (!form || !("DecompressionStream" in window)) return;
  const body = document.getElementById("changes").tBodies[0];
  const shown = document.getElementById("shown");
  const pages = document.getElementById("pages");
  const [previous, next] = pages.querySelectorAll("button");
  const { text, action, blueprint } = form.elements;
  const marks = Object.fromEntries(Array.from(action.options, (one) => [one.value, one]));

  const packed = Uint8Array.from(atob(document.getElementById("rows").textContent), (one) => one.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const rows = await new Response(unpacked).json();
  const fewNew = rows.filter(([kind]) => kind === "created").length <= MOST_NEW;
  const texts = rows.map((row) => row.slice(1, 5).flat(2).join("\n").toLowerCase());

  const make = (name, attributes, ...children) => {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...children);
    return one;
  };
  const value = ([field, before, after]) => {
    const one = make("li", {}, make("b", {}, field), ":");
    if (before) one.append(" ", make("del", {}, before));
    if (after) one.append(" ", make("ins", {}, after));
    return one;
  };
  const valuesOf = (kind, values) => {
    const list = make("ul", { class: "values" }, ...values.map(value));
    return kind === "created" ? make("details", fewNew ? { open: "" } : {}, make("summary", {}, `${values.length} ${values.length === 1 ? "field" : "fields"}`), list) : list;
  };
  const drawn = ([kind, ofBlueprint, identifier, detail, values, links]) => {
    const { mark, style } = marks[kind].dataset;
    const last = make("td", { role: "cell" }, detail);
    if (values.length) last.append(valuesOf(kind, values));
    for (const [label, url] of links) {
      const page = make("span", { class: "apart" }, ` page of ${identifier}`);
      last.append(" ", make("a", { href: url, rel: "noopener noreferrer" }, label, page));
    }
    return make(
      "tr", { role: "row" },
      make("td", { role: "cell", class: `mark ${style}` }, make("span", { "aria-hidden": "true" }, mark), ` ${marks[kind].text}`),
      make("td", { role: "cell" }, make("bdi", {}, ofBlueprint)),
      make("th", { role: "rowheader", scope: "row" }, make("bdi", {}, identifier)),
      last,
    );
  };

  const number = (one) => one.toLocaleString("en");
  let found = [];
  let first = 0;
  const draw = () => {
    const end = Math.min(first + PAGE, found.length);
    body.replaceChildren(...found.slice(first, end).map((index) => drawn(rows[index])));
    const part = found.length > PAGE ? `, ${number(first + 1)} to ${number(end)} shown` : "";
    shown.textContent = `${number(found.length)} of ${number(rows.length)} match${part}`;
    pages.hidden = found.length <= PAGE;
    // Not `disabled`, which would take the keyboard's focus away.
    previous.setAttribute("aria-disabled", first === 0);
    next.setAttribute("aria-disabled", end === found.length);
  };
  const filter = () => {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = blueprint.selectedIndex ? blueprint.value : null;
    found = [...rows.keys()].filter(
      (index) =>
        (!action.value || rows[index][0] === action.value) &&
        (only === null || rows[index][1] === only) &&
        wanted.every((word) => texts[index].includes(word)),
    );
    first = 0;
    draw();
  };
  const turn = (step) => () => {
    if (first + step < 0 || first + step >= found.length) return;
    first += step;
    draw();
    document.getElementById("changes-title").scrollIntoView();
  };

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  previous.addEventListener("click", turn(-PAGE));
  next.addEventListener("click", turn(PAGE));
  for (const one of document.querySelectorAll(".without-script")) one.hidden = true;
  form.hidden = false;
  filter();
})();

// One filter for each column of any table: what does not pass is hidden in every table that has the
// column, and pictures with it. Columns of few values are chosen from; of others, > 100, <= 5 or a part
// of the text.
const MOST_CHOICES = 24;

const tables = [...document.querySelectorAll("table")].map((table) => ({
  names: [...table.tHead.rows[0].cells].map((cell) => cell.textContent),
  rows: [...table.tBodies[0].rows].map((row) => [row, [...row.cells].map((cell) => cell.textContent)]),
}));
const pictures = [...document.querySelectorAll("[data-about]")].map((figure) => [
  figure,
  JSON.parse(figure.dataset.about),
]);
const wanted = new Map();

function passes(text, wish) {
  const compared = /^\s*(<=|>=|<|>|=)\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*$/i.exec(wish);
  if (!compared) return text.toLowerCase().includes(wish.trim().toLowerCase());
  const number = Number.parseFloat(text);
  const limit = Number(compared[2]);
  if (Number.isNaN(number)) return false;
  const by = { "<": number < limit, ">": number > limit, "<=": number <= limit, ">=": number >= limit };
  return compared[1] in by ? by[compared[1]] : number === limit;
}

function apply() {
  for (const { names, rows } of tables) {
    for (const [row, cells] of rows) {
      row.hidden = names.some((name, i) => wanted.has(name) && !wanted.get(name)(cells[i]));
    }
  }
  for (const [figure, about] of pictures) {
    figure.hidden = Object.entries(about).some(([name, text]) => wanted.has(name) && !wanted.get(name)(text));
  }
}

function wish(name, test) {
  if (test) wanted.set(name, test);
  else wanted.delete(name);
  apply();
}

function control(name, values) {
  const label = document.createElement("label");
  label.append(name);
  const isFigure = values.some((value) => value.includes("[") || (values.length > 8 && /\d\.\d/.test(value)));
  if (values.length <= MOST_CHOICES && !isFigure) {
    const select = document.createElement("select");
    select.append(new Option("all", ""), ...values.map((value) => new Option(value || "(none)", `=${value}`)));
    select.addEventListener("change", () => {
      const chosen = select.value.slice(1);
      wish(name, select.value && ((text) => text === chosen));
    });
    label.append(select);
  } else {
    const input = document.createElement("input");
    input.placeholder = "> 0";
    input.addEventListener("input", () => wish(name, input.value.trim() && ((text) => passes(text, input.value))));
    label.append(input);
  }
  return label;
}

const columns = new Map();
for (const { names, rows } of tables) {
  names.forEach((name, i) => {
    const values = columns.get(name) ?? new Set();
    for (const [, cells] of rows) values.add(cells[i]);
    columns.set(name, values);
  });
}
const place = document.getElementById("filters");
for (const [name, values] of columns) {
  if (values.size > 1) place.append(control(name, [...values]));
}

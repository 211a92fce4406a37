
"use strict";
(() => {
  const REFRESH = Number(document.documentElement.dataset.refresh);
  const PATIENCE = 30_000;
  const ROW = 26;
  const FACET = 130;
  const SHORTEST = 15;
  const GLYPH = 7.5;
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

  const at = (id) => document.getElementById(id);
  const count = (number) => number.toLocaleString("en");
  const spaced = (name) => name.replaceAll("_", " ");
  const several = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;
  const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
  const percent = (basisPoints) => `${(basisPoints / 100).toFixed(1)} %`;
  const clock = (moment) => `${moment.slice(11, 19)} UTC`;
  // The library interprets some HTML in texts.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

  let latest = JSON.parse(at("reading").textContent);
  const drawn = new Map();

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["first", "quiet", "alarm", "ink", "muted", "line", "card"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };

  const put = (element, ...children) => {
    const before = element.cloneNode(false);
    before.append(...children);
    // Unchanged text stays: a screen reader would repeat it, and a selection would be lost.
    if (before.innerHTML !== element.innerHTML) element.replaceChildren(...before.childNodes);
  };

  const make = (name, text, attributes = {}) => {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // A section's table: titles with a flag for number columns, rows of texts.
  const tabulate = (id, titles, rows) => {
    const head = make("thead", "");
    const body = make("tbody", "");
    const line = head.appendChild(make("tr", ""));
    for (const [title, number] of titles) line.append(make("th", title, { scope: "col", ...(number && { class: "number" }) }));
    for (const row of rows) {
      const cells = row.map((text, column) => {
        const kind = titles[column][1] ? { class: "number" } : {};
        return column ? make("td", text, kind) : make("th", text, { scope: "row", ...kind });
      });
      body.appendChild(make("tr", "")).append(...cells);
    }
    put(document.querySelector(`#${id} table`), head, body);
  };

  // Draws changed plots only: nothing flickers, and tooltips stay.
  const plot = async (id, label, traces, layout, height) => {
    const element = document.querySelector(`#${id} .plot`);
    element.hidden = !traces.length;
    document.querySelector(`#${id} details`).hidden = !traces.length;
    document.querySelector(`#${id} .none`).hidden = traces.length > 0;
    element.setAttribute("aria-label", label);
    const wanted = JSON.stringify([traces, layout, height]);
    if (drawn.get(id) === wanted) return;
    drawn.set(id, wanted);
    element.style.height = `${height}px`;
    if (traces.length) await Plotly.react(element, traces, layout, CONFIG);
  };

  const base = (ink) => ({
    autosize: true,
    dragmode: false,
    font: { family: "system-ui, sans-serif", size: 13, color: ink.ink },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    showlegend: false,
    margin: { l: 8, r: 8, t: 4, b: 8 },
    hoverlabel: { bgcolor: ink.card, bordercolor: ink.quiet, font: { color: ink.ink } },
  });

  // Horizontal bars, a row each: { name, value, text, colour }.
  const bars = (id, label, rows) => {
    const ink = colours();
    const trace = {
      type: "bar",
      orientation: "h",
      y: rows.map((row) => row.name),
      x: rows.map((row) => row.value),
      text: rows.map((row) => row.text),
      textposition: "outside",
      cliponaxis: false,
      marker: { color: rows.map((row) => ink[row.colour]) },
      hoverinfo: "skip",
    };
    const layout = { ...base(ink), bargap: 0.3, ...rowAxes(id, ink, rows) };
    return plot(id, `${label}: ${rows.map((row) => `${row.name} ${row.text}`).join(", ")}`, rows.length ? [trace] : [], layout, rows.length * ROW + 14);
  };

  // Names take at most half of a card's width; the bars' ends have room for the texts at any window width.
  const fitted = (id, rows) => {
    const wide = document.querySelector(`#${id} .plot`).parentElement.clientWidth - 48;
    const names = rows.map((row) => shortened(row.name, Math.floor(wide / 2 / GLYPH)));
    const longest = (texts) => GLYPH * Math.max(0, ...texts.map((text) => text.length));
    const all = wide - longest(names);
    const free = Math.max(all - longest(rows.map((row) => row.text)) - 12, all / 4);
    return { names, range: [0, (all / free) * Math.max(1, ...rows.map((row) => row.value))] };
  };

  const rowAxes = (id, ink, rows) => {
    const { names, range } = fitted(id, rows);
    const xaxis = { visible: false, fixedrange: true, range };
    const yaxis = {
      type: "category",
      autorange: "reversed",
      fixedrange: true,
      automargin: true,
      ticks: "",
      ticklabelstandoff: 6,
      showgrid: false,
      zeroline: true,
      linecolor: ink.line,
      showline: true,
      tickvals: rows.map((row) => row.name),
      ticktext: names.map(plain),
    };
    return { xaxis, yaxis };
  };

  const drawStates = ({ states }) => {
    tabulate("states", [["State"], ["Orders", true]], states.map((one) => [spaced(one.state), count(one.orders)]));
    return bars("states", "Orders by state", states.map((one) => ({ name: spaced(one.state), value: one.orders, text: count(one.orders), colour: "first" })));
  };

  const drawOutcomes = ({ outcomes }) => {
    const share = (one) => `${count(one.orders)} · ${percent(one.basis_points)}`;
    const row = (one) => ({ name: spaced(one.outcome), value: one.orders, text: share(one), colour: one.outcome === "confirmed" ? "first" : "quiet" });
    tabulate("outcomes", [["Outcome"], ["Orders", true], ["Share", true]], outcomes.map((one) => [spaced(one.outcome), count(one.orders), percent(one.basis_points)]));
    return bars("outcomes", "Orders by outcome", outcomes.map(row));
  };

  const drawProducts = ({ products }) => {
    tabulate("products", [["Product"], ["Units", true]], products.map((one) => [one.sku, count(one.units)]));
    return bars("products", "Units sold", products.map((one) => ({ name: one.sku, value: one.units, text: count(one.units), colour: "first" })));
  };

  const drawRevenue = ({ revenue }) => {
    const minutes = revenue.length ? revenue[0].minutes.map((one) => one.minute) : [];
    const busy = minutes.map((minute, index) => [minute, ...revenue.map((one) => one.minutes[index])]).filter(([, ...amounts]) => amounts.some((one) => one.amount));
    const titles = [["Minute (UTC)"], ...revenue.map((one) => [one.currency, true])];
    tabulate("revenue", titles, busy.toReversed().map(([minute, ...amounts]) => [minute.replace("T", " "), ...amounts.map((one) => one.written)]));
    const ink = colours();
    const layout = { ...base(ink), bargap: 0.15, margin: { l: 8, r: 8, t: 22, b: 8 }, annotations: [] };
    const traces = revenue.map((one, index) => facet(layout, ink, one, index, revenue.length));
    layout.xaxis = {
      type: "date",
      range: axisRange(minutes, busy.map(([minute]) => minute)),
      tickformat: "%H:%M",
      title: { text: "minute (UTC)", font: { color: ink.muted, size: 12 }, standoff: 6 },
      fixedrange: true,
      automargin: true,
      showgrid: false,
      linecolor: ink.line,
      anchor: revenue.length > 1 ? `y${revenue.length}` : "y",
    };
    return plot("revenue", `Revenue of the last hour: ${revenue.map((one) => one.total).join(", ")}`, traces, layout, revenue.length * FACET + 50);
  };

  // Bars of currencies below each other: two currencies have no common scale.
  const facet = (layout, ink, one, index, among) => {
    const name = index ? `y${index + 1}` : "y";
    const gap = among > 1 ? 34 / (FACET * among) : 0;
    const top = 1 - index / among;
    layout[name.replace("y", "yaxis")] = {
      domain: [1 - (index + 1) / among, top - (index ? gap : 0)],
      range: [0, (1.08 * Math.max(1, ...one.minutes.map((minute) => minute.amount))) / one.unit],
      nticks: 4,
      tickformat: `,.${Math.round(Math.log10(one.unit))}~f`,
      fixedrange: true,
      automargin: true,
      gridcolor: ink.line,
      zerolinecolor: ink.line,
    };
    layout.annotations.push({
      text: `<b>${plain(one.currency)}</b>, together ${plain(one.total)}`,
      xref: "paper", yref: "paper", x: 0, y: top - (index ? gap : 0), xanchor: "left", yanchor: "bottom", yshift: 3, showarrow: false,
    });
    return {
      type: "bar",
      name: one.currency,
      yaxis: name,
      x: one.minutes.map((minute) => minute.minute),
      y: one.minutes.map((minute) => minute.amount / one.unit),
      customdata: one.minutes.map((minute) => plain(minute.written)),
      hovertemplate: "%{x|%H:%M} UTC: %{customdata}<extra></extra>",
      marker: { color: ink.first },
    };
  };

  const shifted = (minute, seconds) => new Date(Date.parse(`${minute}Z`) + seconds * 1000).toISOString().slice(0, 19);
  // From the first minute with revenue, at least a quarter of an hour.
  const axisRange = (minutes, busy) => {
    if (!minutes.length) return undefined;
    const first = busy.length ? Math.min(minutes.indexOf(busy[0]), minutes.length - SHORTEST) : 0;
    return [shifted(minutes[Math.max(first, 0)], -40), shifted(minutes.at(-1), 40)];
  };

  const messages = (queue) => queue.waiting + queue.in_flight;

  const drawQueues = ({ queues }) => {
    const ink = colours();
    const dead = queues.filter((one) => one.dead_letters && messages(one));
    const rows = [...dead, ...queues.filter((one) => !one.dead_letters)].map((one) => ({ ...one, value: messages(one), text: `${one.dead_letters ? "⚠ " : ""}${count(messages(one))}` }));
    const titles = [["Queue"], ["Waiting", true], ["Being worked on", true], ["make redrive QUEUE="]];
    const listed = [...dead, ...queues.filter((one) => !dead.includes(one))];
    tabulate("queues", titles, listed.map((one) => [one.name, count(one.waiting), count(one.in_flight), one.redrive]));
    const letters = queues.filter((one) => one.dead_letters).length;
    put(document.querySelector("#queues .note"), dead.length ? `${dead.length} of ${letters} dead-letter queues hold messages.` : `All ${letters} dead-letter queues are empty.`);
    const segment = (name, of, value, marker) => ({
      type: "bar",
      orientation: "h",
      name,
      y: of.map((row) => row.name),
      x: of.map(value),
      marker,
      hoverinfo: "skip",
      showlegend: of.length > 0,
    });
    const working = rows.filter((row) => !row.dead_letters);
    const patterned = (shape, fgcolor, bgcolor) => ({ shape, fgcolor, bgcolor, fgopacity: 1, size: 6, solidity: 0.25, fillmode: "replace" });
    // A bar without length would still have its outline.
    const hatched = { pattern: patterned("/", ink.first, ink.card), line: { color: ink.first, width: working.map((row) => (row.in_flight ? 1 : 0)) } };
    const crossed = { pattern: patterned("x", ink.card, ink.alarm), line: { color: ink.alarm, width: 1 } };
    const traces = [
      segment("dead letters", rows.filter((row) => row.dead_letters), messages, crossed),
      segment("waiting", working, (row) => row.waiting, { color: ink.first }),
      segment("in flight", working, (row) => row.in_flight, hatched),
      {
        type: "scatter",
        mode: "text",
        x: rows.map((row) => row.value),
        y: rows.map((row) => row.name),
        text: rows.map((row) => ` ${row.text}`),
        textposition: "middle right",
        textfont: { color: rows.map((row) => (row.dead_letters ? ink.alarm : ink.ink)) },
        cliponaxis: false,
        hoverinfo: "skip",
        showlegend: false,
      },
    ];
    const layout = {
      ...base(ink),
      barmode: "stack",
      bargap: 0.3,
      showlegend: true,
      legend: { orientation: "h", x: 0, xanchor: "left", xref: "container", y: 1, yanchor: "top", yref: "container", itemclick: false, itemdoubleclick: false, traceorder: "normal" },
      margin: { l: 8, r: 8, t: 30, b: 8 },
      ...rowAxes("queues", ink, rows),
    };
    layout.yaxis.categoryorder = "array";
    layout.yaxis.categoryarray = rows.map((row) => row.name);
    return plot("queues", `Messages in queues: ${rows.map((row) => `${row.name} ${row.value}`).join(", ")}`, rows.length ? traces : [], layout, rows.length * ROW + 44);
  };

  const drawAlarm = ({ queues }) => {
    const dead = queues.filter((one) => one.dead_letters && messages(one));
    const number = total(dead.map(messages));
    const list = make("ul", "");
    for (const one of dead) {
      const line = list.appendChild(make("li", `${one.name}: ${several(messages(one), "message")}, `));
      if (one.redrive) line.append("back to work with ", make("code", `make redrive QUEUE=${one.redrive}`));
      else line.append("to be processed manually");
    }
    put(at("alarm"), ...(dead.length ? [make("h2", `⚠ ${several(number, "dead letter")}`), list] : []));
    at("alarm").hidden = !dead.length;
    put(at("tile-dead"), ...(number ? [`⚠ ${count(number)}`] : ["none"]));
    at("tile-dead").parentElement.classList.toggle("alarming", number > 0);
    document.title = number ? `⚠ ${several(number, "dead letter")} · Order pipeline` : "Order pipeline";
  };

  const drawTiles = ({ states, outcomes, revenue, queues }) => {
    const confirmed = outcomes.find((one) => one.outcome === "confirmed");
    const decided = total(outcomes.map((one) => one.orders));
    put(at("tile-orders"), count(total(states.map((one) => one.orders))));
    put(at("tile-revenue"), ...(revenue.length ? revenue.map((one) => make("span", one.total)) : ["-"]));
    at("tile-revenue").classList.toggle("several", revenue.length > 1);
    put(at("tile-confirmed"), decided ? percent(confirmed ? confirmed.basis_points : 0) : "-");
    put(at("tile-messages"), count(total(queues.filter((one) => !one.dead_letters).map(messages))));
  };

  // Chart lines in the order of Okabe and Ito's palette; a dash pattern distinguishes two lines of a color.
  const LINES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8b6f00", "#6e7781"];
  const DASHES = ["solid", "dash", "dot"];

  const boardCard = (id, chart) => {
    const card = make("section", "", { id, class: "card", "aria-labelledby": `${id}-title` });
    card.append(make("h3", chart.title, { id: `${id}-title` }), make("p", chart.unit, { class: "note" }));
    card.append(make("div", "", { class: "plot", role: "img" }), make("p", "No data. Some metrics exist on AWS only.", { class: "none", hidden: "" }));
    const details = card.appendChild(make("details", ""));
    details.append(make("summary", "As a table"), make("div", "", { class: "scroll" }));
    details.lastChild.append(make("table", ""));
    return card;
  };

  const drawChart = (id, chart) => {
    const times = [...new Set(chart.lines.flatMap((line) => line.times))].sort();
    const value = (line, moment) => (line.times.includes(moment) ? count(line.values[line.times.indexOf(moment)]) : "");
    const titles = [["Time (UTC)"], ...chart.lines.map((line) => [line.label, true])];
    tabulate(id, titles, times.toReversed().map((moment) => [moment.replace("T", " "), ...chart.lines.map((line) => value(line, moment))]));
    const ink = colours();
    const traces = chart.lines.map((line, index) => ({
      type: "scatter",
      mode: "lines+markers",
      name: plain(line.label),
      x: line.times,
      y: line.values,
      line: { color: LINES[index % LINES.length], width: 2, dash: DASHES[Math.floor(index / LINES.length) % DASHES.length] },
      marker: { size: 5 },
      hovertemplate: "%{x|%H:%M} UTC: %{y}<extra>%{fullData.name}</extra>",
    }));
    // At least a quarter of an hour, so that a few minutes do not fill the width with equal ticks.
    const range = times.length ? [[shifted(times.at(-1), -60 * SHORTEST), times[0]].sort()[0], shifted(times.at(-1), 30)] : undefined;
    const axis = { fixedrange: true, automargin: true, gridcolor: ink.line, zerolinecolor: ink.line, linecolor: ink.line };
    const layout = {
      ...base(ink),
      showlegend: true,
      legend: { orientation: "h", x: 0, xanchor: "left", y: -0.22, yanchor: "top", itemclick: false, itemdoubleclick: false },
      xaxis: { ...axis, type: "date", tickformat: "%H:%M", nticks: 6, showgrid: false, range },
      // Of shares, the small differences below 100 % count.
      yaxis: { ...axis, rangemode: chart.unit === "%" ? "normal" : "tozero", nticks: 5 },
      margin: { l: 8, r: 12, t: 8, b: 8 },
    };
    return plot(id, `${chart.title}: ${chart.lines.map((line) => `${line.label} ${count(line.values.at(-1))}`).join(", ")}`, traces, layout, 210 + 20 * Math.ceil(chart.lines.length / 2));
  };

  const drawBoards = async ({ boards }) => {
    at("boards").hidden = !boards.length;
    for (const board of boards) {
      if (!at(`board-${board.name}`)) {
        const section = at("boards").appendChild(make("section", "", { id: `board-${board.name}`, class: "board", "aria-labelledby": `board-${board.name}-title` }));
        section.append(make("h2", board.title, { id: `board-${board.name}-title` }));
        for (const [number, chart] of board.charts.entries()) section.append(boardCard(`chart-${board.name}-${number}`, chart));
      }
      for (const [number, chart] of board.charts.entries()) await drawChart(`chart-${board.name}-${number}`, chart);
    }
  };

  const draw = async () => {
    if (!latest) return;
    const some = latest.states.length > 0;
    at("empty").hidden = some;
    document.querySelector("main").classList.toggle("bare", !some);
    at("tiles").hidden = false;
    at("queues").hidden = false;
    for (const id of ["states", "outcomes", "products", "revenue"]) at(id).hidden = !some;
    put(at("as-of"), REFRESH ? `${latest.endpoint}, ${clock(latest.taken_at)}, every ${REFRESH / 1000} s` : `${latest.endpoint}, ${latest.taken_at.slice(0, 10)} ${clock(latest.taken_at)}`);
    drawTiles(latest);
    drawAlarm(latest);
    for (const part of [drawRevenue, drawStates, drawOutcomes, drawProducts, drawQueues]) await part(latest);
    await drawBoards(latest);
    document.querySelector("main").dataset.drawn = "";
  };

  const problem = (text) => {
    const shown = latest && text ? ` The data below is of ${clock(latest.taken_at)}.` : "";
    put(at("problem"), text && `${text[0].toUpperCase()}${text.slice(1)}. This page retries.${shown}`);
    at("problem").hidden = !text;
    document.querySelector("main").classList.toggle("stale", Boolean(text));
  };

  const ask = async () => {
    try {
      const answer = await fetch("data", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      return await answer.json();
    } catch {
      return { detail: "the dashboard itself does not answer; start it again with make dashboard" };
    }
  };

  const look = async () => {
    if (!document.hidden) {
      const found = await ask();
      if (found.taken_at) latest = found;
      problem(found.taken_at ? "" : found.detail);
      await draw();
    }
    setTimeout(look, REFRESH);
  };

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("resize", draw);
  if (REFRESH) look();
  else draw();
})();

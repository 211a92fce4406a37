// A client of the orders API: products, basket, orders and their timelines. `config.json` beside this file has the API's URL.

const POLL_SECONDS = 1;
const OUTAGE_SECONDS = 3;
const NEVER_AGAIN = new Set(["rejected", "cancelled", "returned"]);
const AVAILABILITY = { in_stock: "In stock", low_stock: "Only a few left", out_of_stock: "Sold out" };

const find = (id) => document.getElementById(id);
const state = { config: {}, products: new Map(), next: null, order: null, watching: 0 };
const basket = savedBasket();

/** Return the basket of an earlier visit; one that cannot be read is empty. */
function savedBasket() {
  try {
    return new Map(JSON.parse(localStorage.getItem("basket") ?? "[]").filter(([, quantity]) => Number.isInteger(quantity) && quantity > 0));
  } catch {
    return new Map();
  }
}

/** A failed request: its problem document, and for a temporary failure the seconds to wait before the next request. */
class ProblemError extends Error {
  constructor(problem, seconds = null) {
    super(problem.status === 401 ? "Your sign-in has expired: sign in again." : sentence(problem));
    this.problem = problem;
    this.seconds = seconds;
  }
}

/** Return title and detail; the title once where the detail begins with it. */
function sentence(problem) {
  const [title, text] = [problem.title, detail(problem)];
  return text.toLowerCase().startsWith(`${title.toLowerCase()}:`) ? title + text.slice(title.length) : `${title}: ${text}`;
}

/** Return what is wrong; of a request with invalid fields, each of them. */
function detail(problem) {
  const named = problem.errors?.map((error) => `${error.field.split(".").at(-1)}: ${error.detail}`);
  return named ? [...new Set(named)].join(", ") : (problem.detail ?? "try again later");
}

const isTemporary = (error) => error instanceof ProblemError && error.seconds !== null;

function noConnection() {
  return new ProblemError({ title: "No connection", detail: "the shop does not answer" }, OUTAGE_SECONDS);
}

/** Send a request to the API. Returns status, entity tag and body; throws a ProblemError for a problem document. */
async function call(method, path, { body, key, tag, token = sessionStorage.getItem("token") } = {}) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (tag) headers["If-None-Match"] = tag;
  let response;
  try {
    response = await fetch(state.config.api + path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    // The API may have another URL since it was deployed again.
    await loadConfig();
    throw noConnection();
  }
  const parsed = response.status === 304 ? "" : await content(response);
  if (response.status >= 400) {
    const seconds = [429, 502, 503, 504].includes(response.status) ? Number(response.headers.get("retry-after") ?? OUTAGE_SECONDS) : null;
    throw new ProblemError({ title: `Error ${response.status}`, status: response.status, ...(parsed instanceof Object && parsed) }, seconds);
  }
  if (parsed === undefined) throw new ProblemError({ title: "Unreadable answer", detail: "try again" }, OUTAGE_SECONDS);
  return { status: response.status, tag: response.headers.get("etag"), body: parsed };
}

/** Return the document or text of an answer, undefined for one that is cut off. */
async function content(response) {
  try {
    return (response.headers.get("content-type") ?? "").includes("json") ? await response.json() : await response.text();
  } catch {
    return undefined;
  }
}

/** Return an element; strings among the children become text, never HTML. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function money({ amount, currency }) {
  const format = new Intl.NumberFormat("en", { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

const words = (name) => name.replaceAll("_", " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();

function show(text, isError = false) {
  find("message").textContent = text;
  find("message").classList.toggle("error", isError);
}

/** Run the action of a click or a form, once at a time; a failure is shown. A disabled button would lose the focus. */
async function run(button, action) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    await action();
  } catch (error) {
    explain(error);
  } finally {
    button.ariaBusy = null;
  }
}

/** Change the page; where the focused element is replaced, hidden or disabled, the focus moves to its successor or to a heading. */
function keepFocus(heading, change) {
  const focused = document.activeElement;
  change();
  if (focused.isConnected && !focused.disabled && focused.checkVisibility()) return;
  const successor = focused.ariaLabel && document.querySelector(`button[aria-label="${CSS.escape(focused.ariaLabel)}"]:enabled`);
  (successor || find(heading)).focus({ preventScroll: Boolean(successor) });
}

/** Show a failed request to the customer, who has to sign in again where the token is not valid any more. */
function explain(error) {
  if (!(error instanceof ProblemError)) throw error;
  if (error.problem.status === 401) signOut();
  show(error.message, true);
}

async function loadConfig() {
  try {
    state.config = await (await fetch("config.json", { cache: "no-store" })).json();
  } catch {
    throw noConnection();
  }
}

async function loadProducts() {
  const cursor = state.next ? `&cursor=${encodeURIComponent(state.next)}` : "";
  const { body } = await call("GET", `/products?limit=50${cursor}`, { token: null });
  for (const product of body.products) state.products.set(product.sku, product);
  state.next = body.next ?? null;
  drawProducts();
  drawBasket();
}

function drawProducts() {
  const sorted = [...state.products.values()].sort((one, other) => one.name.localeCompare(other.name));
  const items = sorted.map((product) => {
    const add = element("button", { type: "button", textContent: "Add", disabled: product.availability === "out_of_stock" });
    add.setAttribute("aria-label", `Add ${product.name} to the basket`);
    add.addEventListener("click", () => change(product.sku, 1));
    return element(
      "li",
      {},
      element("span", { className: "name" }, product.name),
      element("span", { className: "hint" }, AVAILABILITY[product.availability]),
      element("span", { className: "foot" }, element("span", {}, money(product.unit_price)), add),
    );
  });
  keepFocus("products-title", () => {
    find("products").replaceChildren(...items);
    find("more").hidden = !state.next;
  });
}

/** Add units of a product to the basket, or remove them. Another basket is another order, so it gets a new key. */
function change(sku, units) {
  const quantity = (basket.get(sku) ?? 0) + units;
  if (quantity > 0) basket.set(sku, quantity);
  else basket.delete(sku);
  keepBasket();
  show("");
}

function keepBasket() {
  localStorage.setItem("basket", JSON.stringify([...basket]));
  sessionStorage.removeItem("key");
  drawBasket();
}

function total() {
  const lines = [...basket].map(([sku, quantity]) => ({ ...state.products.get(sku), quantity })).filter((line) => line.unit_price);
  const currencies = new Set(lines.map((line) => line.unit_price.currency));
  if (currencies.size !== 1) return null;
  return { amount: lines.reduce((sum, line) => sum + line.unit_price.amount * line.quantity, 0), currency: [...currencies][0] };
}

function drawBasket() {
  const items = [...basket].map(([sku, quantity]) => {
    const name = state.products.get(sku)?.name ?? sku;
    const fewer = element("button", { type: "button", textContent: "−" });
    fewer.setAttribute("aria-label", `One ${name} less`);
    fewer.addEventListener("click", () => change(sku, -1));
    const more = element("button", { type: "button", textContent: "+" });
    more.setAttribute("aria-label", `One ${name} more`);
    more.addEventListener("click", () => change(sku, 1));
    return element("li", {}, element("span", {}, name), element("span", { className: "quantity" }, fewer, `${quantity}`, more));
  });
  keepFocus("basket-title", () => {
    find("basket").replaceChildren(...items);
    find("basket-empty").hidden = basket.size > 0;
    find("checkout").hidden = basket.size === 0;
  });
  const sum = total();
  find("to-basket").textContent = `Basket: ${[...basket.values()].reduce((one, other) => one + other, 0)}`;
  find("total").textContent = sum ? money(sum) : "several currencies: place one order for each";
  find("place").textContent = sessionStorage.getItem("token") ? "Place the order" : "Sign in to place the order";
}

async function placeOrder(form) {
  if (!sessionStorage.getItem("token")) {
    find(find("customer-label").hidden ? "token" : "customer").focus();
    throw new ProblemError({ title: "Not signed in", detail: "sign in, then place the order" });
  }
  const address = Object.fromEntries(["name", "street", "city", "postal_code", "country"].map((name) => [name, form.elements[name].value]));
  const body = {
    lines: [...basket].map(([sku, quantity]) => ({ sku, quantity })),
    shipping_address: address,
    payment: { token: form.elements.payment.value, country: address.country },
  };
  const expected = total();
  if (expected) body.expected_total = expected;
  // The same key until an answer arrives: a repeated request places no second order.
  const key = sessionStorage.getItem("key") ?? crypto.randomUUID();
  sessionStorage.setItem("key", key);
  try {
    const { body: order } = await call("POST", "/orders", { body, key });
    basket.clear();
    keepBasket();
    show("Thank you: your order is placed.");
    showOrder(order.order_id);
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    if (error.problem.status && error.problem.status < 500) sessionStorage.removeItem("key");
    if (error.problem.type?.endsWith(":price-changed")) takeNewPrices(error.problem);
    throw error;
  }
}

function takeNewPrices(problem) {
  for (const line of problem.lines) state.products.get(line.sku).unit_price = line.unit_price;
  drawProducts();
  drawBasket();
}

async function loadOrders() {
  const { body } = await call("GET", "/orders?limit=10");
  const items = body.orders.map((order) => {
    const show = element("button", { type: "button", textContent: "Show" });
    show.setAttribute("aria-label", `Show the order of ${new Date(order.placed_at).toLocaleString()}`);
    show.addEventListener("click", () => showOrder(order.order_id));
    const when = element("span", { className: "hint" }, new Date(order.placed_at).toLocaleString());
    return element("li", {}, element("span", {}, `${money(order.total)}, ${words(order.state)} `, when), show);
  });
  keepFocus("orders-title", () => {
    find("orders-section").hidden = body.orders.length === 0;
    find("orders").replaceChildren(...items);
  });
}

/** Show an order and follow it in the background. */
function showOrder(orderId) {
  find("order-id").textContent = orderId;
  find("order-state").textContent = "";
  find("timeline").replaceChildren();
  find("order").hidden = false;
  find("order-title").focus({ preventScroll: true });
  find("order").scrollIntoView();
  follow(orderId, ++state.watching).catch(explain);
}

/** Draw an order after each of its events until nothing more can happen, or another one is shown. Outages are waited for. */
async function follow(orderId, watch) {
  let [tag, isDown] = [null, false];
  const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
  while (watch === state.watching) {
    try {
      const answer = await call("GET", `/orders/${orderId}/events`, { tag });
      if (answer.status === 200) {
        const { body: order } = await call("GET", `/orders/${orderId}`);
        if (watch !== state.watching) return;
        tag = answer.tag;
        drawTimeline(answer.body.events);
        drawOrder(order);
        loadOrders().catch(() => {});
        if (NEVER_AGAIN.has(order.state)) return;
      }
      if (isDown) show("");
      isDown = false;
      await pause(POLL_SECONDS);
    } catch (error) {
      if (watch !== state.watching) return;
      if (!isTemporary(error)) throw error;
      isDown = true;
      show(`${error.message}. It is asked again in a moment.`, true);
      await pause(error.seconds);
    }
  }
}

function drawTimeline(events) {
  keepFocus("order-title", () => {
    find("invoice").disabled = !events.some(({ type }) => type === "InvoiceIssued");
  });
  const shown = find("timeline").children.length;
  // Appended, so that a screen reader announces the new events only.
  for (const event of events.slice(shown)) {
    const at = element("time", { dateTime: event.occurred_at }, new Date(event.occurred_at).toLocaleTimeString());
    find("timeline").append(element("li", {}, at, element("span", {}, words(event.type))));
  }
}

function drawOrder(order) {
  state.order = order;
  const reason = order.reason ? `, ${words(order.reason)}` : "";
  find("order-state").textContent = `${money(order.total)}, ${words(order.state)}${reason}`;
  keepFocus("order-title", () => {
    find("cancel").disabled = !["placed", "held", "confirmed", "partly_dispatched"].includes(order.state);
    find("return").disabled = returnable(order).length === 0;
  });
}

/** Return the delivered lines that are in no return yet. */
function returnable(order) {
  const units = new Map();
  const count = (lines, sign) => lines.forEach(({ sku, quantity }) => units.set(sku, (units.get(sku) ?? 0) + sign * quantity));
  for (const parcel of order.parcels ?? []) if (parcel.state === "delivered") count(parcel.lines, 1);
  for (const one of order.returns ?? []) count(one.lines, -1);
  return [...units].filter(([, quantity]) => quantity > 0).map(([sku, quantity]) => ({ sku, quantity }));
}

async function cancelOrder() {
  const { body } = await call("POST", `/orders/${state.order.order_id}/cancellation`, { body: { reason: "cancelled in the shop" } });
  drawOrder(body);
  show("The order is being cancelled.");
}

async function returnOrder() {
  const lines = returnable(state.order);
  const key = `return-${state.order.order_id}-${(state.order.returns ?? []).length}`;
  await call("POST", `/orders/${state.order.order_id}/returns`, { body: { lines }, key });
  show("The return is created. The price is refunded once it is received.");
}

async function downloadInvoice() {
  const { body } = await call("GET", `/orders/${state.order.order_id}/invoice`);
  const url = URL.createObjectURL(new Blob([body], { type: "text/html" }));
  element("a", { href: url, download: `invoice-${state.order.order_id}.html` }).click();
  URL.revokeObjectURL(url);
  show("The invoice is downloaded.");
}

async function signIn(token, name) {
  sessionStorage.setItem("token", token);
  sessionStorage.setItem("name", name);
  keepFocus("basket-title", drawAccount);
  drawBasket();
  show(`Signed in as ${name}.`);
  await loadOrders();
}

function signOut() {
  sessionStorage.clear();
  state.watching += 1;
  keepFocus("sign-in-title", () => {
    find("order").hidden = find("orders-section").hidden = true;
    drawAccount();
  });
  drawBasket();
}

function drawAccount() {
  const name = sessionStorage.getItem("name");
  find("sign-in").hidden = Boolean(name);
  find("account").replaceChildren();
  if (!name) return;
  const out = element("button", { type: "button", textContent: "Sign out" });
  out.addEventListener("click", () => {
    signOut();
    show("Signed out.");
  });
  find("account").append(name, out);
}

/** Return the `sub` of a token for display; the API verifies the token. */
function subject(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub;
  } catch {
    throw new ProblemError({ title: "No token", detail: "a token has three parts with dots between them" });
  }
}

function listen() {
  find("more").addEventListener("click", (event) => run(event.target, loadProducts));
  find("checkout").addEventListener("submit", (event) => {
    event.preventDefault();
    run(find("place"), () => placeOrder(event.target));
  });
  find("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run(event.submitter ?? find("place"), async () => {
      // The local tokens are valid for an hour: one of now, not of when the page was opened.
      await loadConfig();
      const token = state.config.tokens?.[find("customer").value] ?? find("token").value.trim();
      await signIn(token, subject(token));
    });
  });
  find("cancel").addEventListener("click", (event) => run(event.target, cancelOrder));
  find("return").addEventListener("click", (event) => run(event.target, returnOrder));
  find("invoice").addEventListener("click", (event) => run(event.target, downloadInvoice));
}

async function open() {
  await loadConfig();
  const customers = Object.keys(state.config.tokens ?? {});
  find("customer-label").hidden = customers.length === 0;
  find("token-label").hidden = customers.length > 0;
  find("token").required = customers.length === 0;
  find("customer").replaceChildren(...customers.map((name) => element("option", { value: name }, name)));
  await loadProducts();
  if (sessionStorage.getItem("token")) await loadOrders();
}

listen();
drawAccount();
run(find("more"), open);

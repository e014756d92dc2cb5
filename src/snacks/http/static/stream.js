// Follows the order stream of the server: heals itself and goes on where it was, by its cursor.

const FIRST_PAUSE = 250; // milliseconds before trying again; doubled each time
const LONGEST_PAUSE = 5000;
const ASLEEP = 30000; // who was hidden for so long may have slept, and its connection may be dead
const SILENCE = 10000; // a connection that says nothing for so long at its start is given up

// `path` is /ws/orders or /ws/orders/{orderId}. `on` has:
//   afresh()        forget what you know, the present state follows
//   order(message)  an order's present state, or a change
//   gone(orderId)   the order was deleted
//   current()       the present state is complete
//   state(name, detail)  live | stale | down
export function follow(path, on) {
  let socket = null;
  let cursor = null;
  let pause = FIRST_PAUSE;
  let timer = 0;
  let stopped = false;

  function connect() {
    clearTimeout(timer);
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (cursor) url.searchParams.set("cursor", cursor);
    const mine = new WebSocket(url);
    socket = mine;
    timer = setTimeout(() => mine.readyState === WebSocket.CONNECTING && lost(mine), SILENCE);
    mine.onmessage = (event) => mine === socket && take(JSON.parse(event.data));
    mine.onclose = () => lost(mine);
  }

  function lost(mine) {
    if (mine !== socket || stopped) return;
    socket = null;
    mine.close();
    clearTimeout(timer);
    on.state("down");
    timer = setTimeout(connect, pause * (0.75 + Math.random() / 2)); // not all pages at the same moment
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }

  function take(message) {
    if (message.type === "hello") {
      pause = FIRST_PAUSE;
      if (!message.resumed) on.afresh();
      on.state("live");
    } else if (message.type === "order") on.order(message);
    else if (message.type === "gone") on.gone(message.orderId);
    else if (message.type === "current") on.current();
    else if (message.type === "stale") on.state("stale", message.reason);
    else if (message.type === "live") on.state("live");
    // After it was taken: what fails half way is asked for again.
    if (message.cursor) cursor = message.cursor;
  }

  // Do not wait for the end of the pause when there is reason to believe that it works now.
  function hurry() {
    if (stopped || socket) return;
    pause = FIRST_PAUSE;
    connect();
  }

  // A connection can be dead without anybody having said so: after sleep, or behind a proxy.
  function again() {
    const old = socket;
    socket = null;
    old?.close();
    if (!stopped) connect();
  }

  addEventListener("online", hurry);
  let hidden = Date.now();
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") hidden = Date.now();
    else if (Date.now() - hidden > ASLEEP) again();
    else hurry();
  });
  connect();
  return {
    hurry,
    again,
    stop() {
      stopped = true;
      clearTimeout(timer);
      socket?.close();
    },
  };
}

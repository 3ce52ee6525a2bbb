// The socket: says who it is in its first message, pings, and comes back to where it was.

import { currentToken, signIn } from "./api.js";

const PING = 20_000;

/** Calls `told(notice)` for each notice, `state(true or false)` as the connection comes and goes. */
export function live(told, state) {
  let last = null;
  let pause = 500;
  const seen = new Set();
  const open = () => {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    let ping;
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: "hello", token: currentToken(), last_event_id: last }));
      ping = setInterval(() => socket.send(JSON.stringify({ type: "ping" })), PING);
    };
    socket.onmessage = async message => {
      const said = JSON.parse(message.data);
      if (said.type === "welcome") {
        pause = 500;
        state(true);
      } else if (said.type === "problem" && said.code.startsWith("token_")) {
        await signIn();
      } else if (said.event_id && !seen.has(said.event_id)) {
        if (said.type === "notice") seen.add(said.event_id);
        last = said.event_id;
        told(said);
      }
    };
    socket.onclose = () => {
      clearInterval(ping);
      state(false);
      setTimeout(open, pause);
      pause = Math.min(pause * 2, 10_000);
    };
  };
  open();
}

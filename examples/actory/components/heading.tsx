/** Edit this one while `npm run dev` runs: the page changes, and its socket stays open. */
export function Heading() {
  return <h2>Messages</h2>;
}

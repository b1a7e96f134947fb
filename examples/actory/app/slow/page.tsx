import { connection } from 'next/server';

/** A page whose render keeps Node's thread busy for two seconds: nothing else runs there meanwhile. */
export default async function Slow() {
  await connection();
  const start = performance.now();
  while (performance.now() - start < 2000);
  return <p>It took {Math.round(performance.now() - start)} ms to render this.</p>;
}

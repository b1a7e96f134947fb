export function SignIn() {
  return (
    <main className="sign-in">
      <form className="card" action="/api/session" method="post">
        <h1>Actory</h1>
        <label htmlFor="name">Your name</label>
        <input id="name" name="name" required maxLength={32} autoComplete="username" />
        <button type="submit">Sign in</button>
      </form>
    </main>
  );
}

import { Desk } from '@/components/desk';
import { SignIn } from '@/components/sign-in';
import { signedIn } from '@/lib/session';

export default async function Page() {
  const name = await signedIn();
  return name === null ? <SignIn /> : <Desk name={name} />;
}

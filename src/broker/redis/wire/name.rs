//! A server's name, and the way to one of its addresses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The time of an address before the next one is tried beside it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// A look-up's outcome. None: it is under way.
type Found = Option<Result<Vec<SocketAddr>, Arc<io::Error>>>;
type LookUps = HashMap<(String, u16), watch::Receiver<Found>>;

/// The names that are being looked up in this process. A look-up can take half a minute, and links come back several times in a
/// second: they must not need a thread each time.
static UNDER_WAY: LazyLock<Mutex<LookUps>> = LazyLock::new(Mutex::default);

/// Looks a server's name up.
///
/// # Errors
/// The system's error for the name, or that it gives no thread.
pub(crate) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    look_up_by(host, port, |name| name.to_socket_addrs().map(Iterator::collect)).await
}

/// Looks a name up on a thread of its own, for nothing can interrupt that, or waits for the thread that does so already. It is
/// none of tokio's, which panics where the system gives none.
async fn look_up_by<F>(host: &str, port: u16, resolve: F) -> io::Result<Vec<SocketAddr>>
where
    F: FnOnce(&(&str, u16)) -> io::Result<Vec<SocketAddr>> + Send + 'static,
{
    let mut receiver = match UNDER_WAY.lock().entry((host.to_owned(), port)) {
        Entry::Occupied(entry) => entry.get().clone(),
        Entry::Vacant(entry) => {
            let (sender, receiver) = watch::channel(None);
            let name = entry.key().clone();
            thread::Builder::new().name("actory-ws-name".into()).spawn(move || {
                let found = resolve(&(&name.0, name.1)).map_err(Arc::new);
                // First, so that whoever comes now asks anew.
                UNDER_WAY.lock().remove(&name);
                sender.send_replace(Some(found));
            })?;
            entry.insert(receiver).clone()
        }
    };
    let found = receiver.wait_for(Option::is_some).await.map_err(io::Error::other)?;
    match &*found {
        Some(Ok(addresses)) => Ok(addresses.clone()),
        Some(Err(error)) => Err(io::Error::new(error.kind(), error.clone())),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Connects to one of these addresses: the first that answers. Each is tried when the one before has failed, or has said
/// nothing for a while (RFC 8305, section 5): a dead one must not use up the time of the others.
///
/// # Errors
/// The error of the one that was tried last.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut trouble = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut addresses = in_turn(addresses).into_iter();
    let mut tried = JoinSet::new();
    loop {
        let patience = match addresses.next() {
            Some(address) => {
                tried.spawn(TcpStream::connect(address));
                STAGGER
            }
            None if tried.is_empty() => return Err(trouble),
            None => Duration::MAX,
        };
        match tokio::time::timeout(patience, tried.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => trouble = error,
            _ => {}
        }
    }
}

/// The addresses so that both families take turns, beginning with that of the first one (RFC 8305, section 4).
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut these, mut others) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv6() == first.is_ipv6() { &mut these } else { &mut others }.push(*address);
    }
    let rounds = these.len().max(others.len());
    (0..rounds).flat_map(|at| these.get(at).into_iter().chain(others.get(at))).copied().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Connects as a link does, on a runtime of its own.
    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// An address that answers nothing, as one whose host is gone: its queue is full, so Linux drops whoever comes.
    struct Dead {
        address: SocketAddr,
        _sockets: Vec<Socket>,
    }

    impl Dead {
        fn at(host: &str) -> Dead {
            let socket = |address: &SocketAddr| {
                Socket::new(Domain::for_address(*address), Type::STREAM, None).unwrap()
            };
            let any = SocketAddr::new(host.parse().unwrap(), 0);
            let listener = socket(&any);
            listener.bind(&any.into()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let mut sockets = vec![listener];
            // As many as it takes in, and a few that it does not.
            for _ in 0..4 {
                let client = socket(&address);
                client.set_nonblocking(true).unwrap();
                drop(client.connect(&address.into()));
                sockets.push(client);
            }
            Dead { address, _sockets: sockets }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_that_is_dead_does_not_use_up_the_time_of_the_next() {
        run(async {
            let dead = Dead::at("127.0.0.1");
            let living = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let begin = Instant::now();
            let stream = connect(&[dead.address, living.local_addr().unwrap()]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), living.local_addr().unwrap());
            assert!(begin.elapsed() >= STAGGER, "{:?}", begin.elapsed());
            assert!(begin.elapsed() < 4 * STAGGER, "{:?}", begin.elapsed());
        });
    }

    #[test]
    fn an_address_that_refuses_is_passed_over_at_once_and_named_when_all_do() {
        run(async {
            let (gone, living) = (free().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
            let begin = Instant::now();
            connect(&[gone, gone, living.local_addr().unwrap()]).await.unwrap();
            assert!(begin.elapsed() < STAGGER, "{:?}", begin.elapsed());
            let refused = connect(&[gone, gone]).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(connect(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        });
    }

    async fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[test]
    fn a_name_has_one_thread_however_many_ask_for_it() {
        run(async {
            let (port, address) = (free().await.port(), free().await);
            let (answer, question) = std::sync::mpsc::channel();
            let first = look_up_by("one-thread.invalid", port, move |_| question.recv().unwrap());
            let second = look_up_by("one-thread.invalid", port, |_| panic!("another thread"));
            let both = async { tokio::join!(biased; first, second) };
            let (both, _) = tokio::join!(biased; both, async { answer.send(Ok(vec![address])) });
            assert_eq!((both.0.unwrap(), both.1.unwrap()), (vec![address], vec![address]));
            // Its outcome is not kept.
            let refused = |_: &(&str, u16)| Err(io::ErrorKind::PermissionDenied.into());
            let again = look_up_by("one-thread.invalid", port, refused).await.unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(look_up("127.0.0.2", 7).await.unwrap(), ["127.0.0.2:7".parse().unwrap()]);
            assert!(look_up("localhost", 7).await.unwrap().contains(&"127.0.0.1:7".parse().unwrap()));
        });
    }

    #[test]
    fn families_take_turns() {
        let all =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = all(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(in_turn(&given), all(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
    }
}

use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::thread;

use super::model;
use super::remote_queue::RemoteQueue;

type Mail = Vec<Arc<u32>>;

/// The owner: waits until it has taken so much mail, or is to end. Loom finds it if it waits for ever.
async fn take(remote_queue: &RemoteQueue<Mail>, most: usize) -> Mail {
    let mut all = Mail::new();
    std::future::poll_fn(|cx| {
        let Some(mail) = remote_queue.take(cx.waker()) else { return Poll::Ready(()) };
        all.extend(mail);
        if all.len() < most { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all
}

fn post(remote_queue: &RemoteQueue<Mail>, letter: &Arc<u32>, is_held_back: bool) {
    remote_queue.post(|mail| mail.push(letter.clone()), || is_held_back);
}

#[test]
fn what_is_posted_arrives_without_anyone_else_s_help() {
    model(|| {
        let remote_queue = loom::sync::Arc::new(RemoteQueue::default());
        let posts = [1, 2].map(|number| {
            let remote_queue = remote_queue.clone();
            thread::spawn(move || {
                post(&remote_queue, &Arc::new(number), false);
                post(&remote_queue, &Arc::new(number + 10), false);
            })
        });
        let mut all: Vec<u32> = block_on(take(&remote_queue, 4)).iter().map(|letter| **letter).collect();
        assert!(all.iter().position(|&n| n == 1) < all.iter().position(|&n| n == 11), "{all:?}");
        all.sort_unstable();
        assert_eq!(all, [1, 2, 11, 12]);
        posts.into_iter().for_each(|post| post.join().unwrap());
    });
}

#[test]
fn what_was_held_back_arrives_with_what_lets_it_out_or_with_another_post() {
    model(|| {
        let remote_queue = loom::sync::Arc::new(RemoteQueue::default());
        let batch = thread::spawn({
            let remote_queue = remote_queue.clone();
            move || {
                post(&remote_queue, &Arc::new(1), true);
                post(&remote_queue, &Arc::new(2), true);
                remote_queue.let_out();
            }
        });
        let other = thread::spawn({
            let remote_queue = remote_queue.clone();
            move || post(&remote_queue, &Arc::new(3), false)
        });
        assert_eq!(block_on(take(&remote_queue, 3)).len(), 3);
        batch.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn the_owner_ends_when_it_is_stopped_and_no_mail_is_kept() {
    model(|| {
        let remote_queue = loom::sync::Arc::new(RemoteQueue::default());
        let letter = Arc::new(1);
        let posts = thread::spawn({
            let (remote_queue, letter) = (remote_queue.clone(), letter.clone());
            move || {
                post(&remote_queue, &letter, false);
                post(&remote_queue, &letter, true);
                remote_queue.let_out();
            }
        });
        let stop = thread::spawn({
            let remote_queue = remote_queue.clone();
            move || remote_queue.stop()
        });
        drop(block_on(take(&remote_queue, usize::MAX)));
        posts.join().unwrap();
        stop.join().unwrap();
        assert_eq!(Arc::strong_count(&letter), 1, "the remote_queue is still there, and holds none");
    });
}

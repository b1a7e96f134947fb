use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::thread;

use super::mailbox::Mailbox;
use super::model;

type Mail = Vec<Arc<u32>>;

/// The owner: waits until it has taken so much mail, or is to end. Loom finds it if it waits for ever.
async fn take(mailbox: &Mailbox<Mail>, most: usize) -> Mail {
    let mut all = Mail::new();
    std::future::poll_fn(|cx| {
        let Some(mail) = mailbox.take(cx.waker()) else { return Poll::Ready(()) };
        all.extend(mail);
        if all.len() < most { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all
}

fn post(mailbox: &Mailbox<Mail>, letter: &Arc<u32>, is_held_back: bool) {
    mailbox.post(|mail| mail.push(letter.clone()), || is_held_back);
}

#[test]
fn what_is_posted_arrives_without_anyone_else_s_help() {
    model(|| {
        let mailbox = loom::sync::Arc::new(Mailbox::default());
        let posts = [1, 2].map(|number| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                post(&mailbox, &Arc::new(number), false);
                post(&mailbox, &Arc::new(number + 10), false);
            })
        });
        let mut all: Vec<u32> = block_on(take(&mailbox, 4)).iter().map(|letter| **letter).collect();
        assert!(all.iter().position(|&n| n == 1) < all.iter().position(|&n| n == 11), "{all:?}");
        all.sort_unstable();
        assert_eq!(all, [1, 2, 11, 12]);
        posts.into_iter().for_each(|post| post.join().unwrap());
    });
}

#[test]
fn what_was_held_back_arrives_with_what_lets_it_out_or_with_another_post() {
    model(|| {
        let mailbox = loom::sync::Arc::new(Mailbox::default());
        let batch = thread::spawn({
            let mailbox = mailbox.clone();
            move || {
                post(&mailbox, &Arc::new(1), true);
                post(&mailbox, &Arc::new(2), true);
                mailbox.let_out();
            }
        });
        let other = thread::spawn({
            let mailbox = mailbox.clone();
            move || post(&mailbox, &Arc::new(3), false)
        });
        assert_eq!(block_on(take(&mailbox, 3)).len(), 3);
        batch.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn the_owner_ends_when_it_is_stopped_and_no_mail_is_kept() {
    model(|| {
        let mailbox = loom::sync::Arc::new(Mailbox::default());
        let letter = Arc::new(1);
        let posts = thread::spawn({
            let (mailbox, letter) = (mailbox.clone(), letter.clone());
            move || {
                post(&mailbox, &letter, false);
                post(&mailbox, &letter, true);
                mailbox.let_out();
            }
        });
        let stop = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.stop()
        });
        drop(block_on(take(&mailbox, usize::MAX)));
        posts.join().unwrap();
        stop.join().unwrap();
        assert_eq!(Arc::strong_count(&letter), 1, "the mailbox is still there, and holds none");
    });
}

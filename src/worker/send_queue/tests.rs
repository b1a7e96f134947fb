//! A send queue keeps, counts and drops the same however it is written.

use std::cell::Cell;

use protocol::frame::Message;

use super::*;
use crate::worker::outgoing::{Encoding, Outgoing, Stamps};

thread_local! {
    /// Frames that were walked over.
    pub(super) static WALKED: Cell<usize> = const { Cell::new(0) };
}

fn text(len: usize, fill: char) -> String {
    fill.to_string().repeat(len)
}

fn push(send_queue: &mut SendQueue, text: &str) -> Vec<u8> {
    let message = Outgoing::new(Message::Text(text), Stamps::default());
    let frame = message.frames(Encoding::Plain);
    send_queue.push(frame);
    frame.to_vec()
}

/// Pushes texts of these lengths, in one block or one by one. Answers their frames.
fn push_all(send_queue: &mut SendQueue, sizes: &[usize], as_block: bool) -> Vec<Vec<u8>> {
    if !as_block {
        return sizes.iter().map(|len| push(send_queue, &text(*len, 'x'))).collect();
    }
    let frames = sizes
        .iter()
        .map(|len| {
            Outgoing::new(Message::Text(&text(*len, 'x')), Stamps::default()).frames(Encoding::Plain).to_vec()
        })
        .collect::<Vec<_>>();
    send_queue.push(
        Outgoing::of(&mut frames.concat(), sizes.len() as u32, Stamps::default()).frames(Encoding::Plain),
    );
    frames
}

/// Writes everything, `step` bytes at a time.
fn drain(send_queue: &mut SendQueue, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while !send_queue.is_empty() {
        let written = send_queue.with_slices(|slices| {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let n = all.len().min(step);
            out.extend_from_slice(&all[..n]);
            n
        });
        send_queue.advance(written);
    }
    out
}

#[test]
fn frames_go_out_in_order_however_the_writes_are_cut() {
    for step in [1, 2, 3, 7, 100, 1500, 1 << 20] {
        let mut send_queue = SendQueue::default();
        let mut expected = Vec::new();
        for (len, fill) in [(3, 'a'), (2000, 'b'), (1, 'c'), (0, 'd'), (1024, 'e'), (1025, 'f'), (9, 'g')] {
            expected.extend(push(&mut send_queue, &text(len, fill)));
        }
        assert_eq!(drain(&mut send_queue, step), expected, "{step}");
        assert!(send_queue.is_empty());
    }
}

#[test]
fn more_chunks_than_one_write_takes_go_out_in_several() {
    let mut send_queue = SendQueue::default();
    let mut expected = Vec::new();
    for _ in 0..200 {
        expected.extend(push(&mut send_queue, &text(1500, 'x')));
    }
    assert_eq!(drain(&mut send_queue, usize::MAX), expected);
}

#[test]
fn a_cut_keeps_the_frame_that_is_half_out_and_counts_the_rest() {
    let cases = [[10, 20, 30], [2000, 20, 3000], [10, 2000, 5], [3000, 3000, 3000], [400, 800, 100]];
    for (sizes, as_block) in cases.into_iter().flat_map(|sizes| [(sizes, false), (sizes, true)]) {
        let total: usize = 1 + sizes.iter().sum::<usize>();
        for sent in (0..total).step_by(7) {
            let mut send_queue = SendQueue::default();
            let frames = push_all(&mut send_queue, &sizes, as_block);
            let sent = sent.min(frames.concat().len() - 1);
            let mut left = sent;
            while left > 0 {
                let n = send_queue.with_slices(|s| s.iter().map(|s| s.len()).sum::<usize>()).min(left);
                send_queue.advance(n);
                left -= n;
            }
            let mut end = 0;
            let mut kept = 0;
            for frame in &frames {
                if end < sent {
                    end += frame.len();
                    kept += 1;
                }
            }
            let dropped = send_queue.cut();
            assert_eq!(dropped.messages, (frames.len() - kept) as u64, "{sizes:?} {sent}");
            assert_eq!(dropped.bytes as usize, frames.concat().len() - end, "{sizes:?} {sent}");
            let written = send_queue.take_written();
            assert_eq!(written + u64::from(send_queue.messages()) + dropped.messages, 3, "{sizes:?} {sent}");
            send_queue.push_control(&frame::PING);
            let mut expected = frames.concat()[sent..end.max(sent)].to_vec();
            expected.extend(frame::PING);
            assert_eq!(drain(&mut send_queue, 11), expected, "{sizes:?} {sent}");
        }
    }
}

#[test]
fn a_write_that_is_cut_short_walks_over_what_it_has_written_and_no_further() {
    const FRAMES: usize = 100_000;
    let mut send_queue = SendQueue::default();
    (0..FRAMES).for_each(|_| drop(push(&mut send_queue, "x")));
    let (mut left, mut written) = (3 * FRAMES, 0);
    WALKED.set(0);
    while left > 1000 {
        send_queue.advance(1000);
        left -= 1000;
        written += send_queue.take_written();
        assert_eq!(written, ((3 * FRAMES - left) / 3) as u64);
    }
    // Whole chunks are counted without a walk.
    assert!(WALKED.get() <= FRAMES, "{} frames walked over", WALKED.get());
    send_queue.advance(left);
    assert_eq!(written + u64::from(send_queue.messages()), FRAMES as u64);
    assert!(send_queue.is_empty());
}

#[test]
fn messages_are_counted_once_however_the_writes_are_cut() {
    for step in [1, 7, 1000, 5000, 100_000] {
        let mut send_queue = SendQueue::default();
        let mut left = 0;
        for (n, len) in [0, 5, 2000, 3, 70_000, 1, 1, 1024, 1025].into_iter().cycle().take(300).enumerate() {
            left += push(&mut send_queue, &text(len, 'x')).len();
            if n % 5 == 0 {
                send_queue.push_control(&frame::PING);
                left += 2;
            }
        }
        let (mut written, total) = (0, left);
        while left > 0 {
            send_queue.advance(step.min(left));
            left -= step.min(left);
            if left % 3 == 0 {
                written += send_queue.take_written();
            }
        }
        assert_eq!(written + u64::from(send_queue.messages()), 300, "{step}, {total}");
    }
}

#[test]
fn memory_of_what_is_written_is_free_even_if_the_outbox_is_never_empty() {
    let mut send_queue = SendQueue::default();
    (0..1000).for_each(|_| drop(push(&mut send_queue, &text(998, 'x'))));
    for _ in 0..10_000 {
        push(&mut send_queue, &text(998, 'x'));
        send_queue.advance(1002);
    }
    assert!(send_queue.own() < 1_300_000, "{} bytes for a megabyte", send_queue.own());
    send_queue.advance(1000 * 1002);
    assert_eq!((send_queue.own(), send_queue.is_empty()), (0, true));
}

#[test]
fn only_large_frames_of_those_who_are_behind_are_counted_and_each_once() {
    let memory = Memory::new(usize::MAX);
    let large = text(2000, 'x');
    let message = Outgoing::new(Message::Text(&large), Stamps::default());
    let frame = message.frames(Encoding::Plain);
    let mut outboxes = [SendQueue::default(), SendQueue::default()];
    for send_queue in &mut outboxes {
        push(send_queue, "small");
        send_queue.push(frame);
    }
    assert_eq!(memory.used(), 0);
    for send_queue in &mut outboxes {
        send_queue.count_in(&memory);
        send_queue.count_in(&memory);
        assert_eq!(memory.used(), 2004);
    }
    drop(message);
    outboxes[0].advance(7 + 2004);
    assert_eq!((memory.used(), outboxes[0].own()), (2004, 0));
    outboxes[1].advance(7);
    outboxes[1].cut();
    assert_eq!((memory.used(), outboxes[1].own()), (0, 0));
}

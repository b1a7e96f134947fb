/// The shortest list that still fails, found by leaving out ever smaller parts (Zeller and Hildebrandt 2002).
pub(super) fn shrink<T: Clone>(all: &[T], fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut list = all.to_vec();
    let mut part = list.len() / 2;
    while part > 0 {
        let (mut at, before) = (0, list.len());
        while at < list.len() {
            let end = (at + part).min(list.len());
            let shorter = [&list[..at], &list[end..]].concat();
            if fails(&shorter) {
                list = shorter;
            } else {
                at = end;
            }
        }
        // An operation that was needed before may not be needed now.
        if part > 1 || list.len() == before {
            part /= 2;
        }
    }
    list
}

#[test]
fn the_shortest_failing_list_is_found() {
    let all: Vec<u32> = (0..100).collect();
    let fails = |list: &[u32]| list.contains(&7) && list.contains(&93) && list.len() > 2;
    let shortest = shrink(&all, fails);
    assert_eq!(shortest.len(), 3, "{shortest:?}");
    assert_eq!(shrink(&all, |list| list.len() >= 40).len(), 40);
}

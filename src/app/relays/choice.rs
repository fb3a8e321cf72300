//! Which relays a client is told of: those of its region first, and of those by chance, the less a relay has to do the more
//! likely. What relays say of themselves is a second old: if all took the least loaded one, all who came within that second
//! would.

/// Thousandths of what a relay carries, from which on others are told of, wherever they are.
pub const FULL: u16 = 900;
/// However loaded it is, its chance does not vanish.
const LEAST: f64 = 0.05;

/// A relay that could be told of.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// In thousandths of what it carries.
    pub load: u16,
    /// Whether it is in the client's region.
    pub is_near: bool,
}

/// Places of `count` candidates at most, the best first. `random` draws from 0 to below 1.
pub fn choose(
    candidates: &[Candidate],
    count: usize,
    mut random: impl FnMut() -> f64,
) -> Vec<usize> {
    let mut drawn: Vec<(bool, bool, f64, usize)> = candidates
        .iter()
        .enumerate()
        .map(|(place, candidate)| {
            let spare = 1.0 - f64::from(candidate.load.min(1000)) / 1000.0;
            // The square of it: who has half as much to spare is drawn a fourth as often.
            let weight = (spare * spare).max(LEAST * LEAST);
            // Efraimidis and Spirakis: in the order of these, each is drawn from those left by its weight.
            let time = -(1.0 - random()).ln() / weight;
            let is_full = candidate.load >= FULL;
            (is_full, !candidate.is_near, time, place)
        })
        .collect();
    drawn.sort_by(|one, other| {
        let class = (one.0, one.1).cmp(&(other.0, other.1));
        class.then(one.2.total_cmp(&other.2))
    });
    drawn.into_iter().map(|drawn| drawn.3).take(count).collect()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn relay(load: u16, is_near: bool) -> Candidate {
        Candidate { load, is_near }
    }

    /// How often in a thousand each is the first.
    fn shares(candidates: &[Candidate]) -> Vec<u32> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut first = vec![0; candidates.len()];
        for _ in 0..10_000 {
            let chosen = choose(candidates, 2, || rng.random());
            assert_eq!(chosen.len(), candidates.len().min(2));
            assert!(chosen.len() < 2 || chosen[0] != chosen[1]);
            first[chosen[0]] += 1;
        }
        first.into_iter().map(|count| (count + 5) / 10).collect()
    }

    #[test]
    fn equals_have_equal_shares() {
        for share in shares(&[relay(0, false), relay(0, false), relay(0, false)]) {
            assert!((315..=352).contains(&share), "{share}");
        }
        assert_eq!(shares(&[relay(1000, false)]), [1000], "one is all there is");
        assert!(choose(&[], 2, || 0.5).is_empty());
    }

    #[test]
    fn who_has_less_to_do_has_more_and_never_all() {
        // 0.9² to 0.4²: 835 to 165 in a thousand.
        let found = shares(&[relay(100, false), relay(600, false)]);
        assert!((815..=855).contains(&found[0]), "{found:?}");
    }

    #[test]
    fn the_region_comes_first_unless_its_relays_are_full() {
        let all = [relay(0, false), relay(700, true), relay(FULL, true)];
        assert_eq!(shares(&all), [0, 1000, 0]);
        let mut rng = StdRng::seed_from_u64(7);
        assert_eq!(choose(&all, 8, || rng.random()), [1, 0, 2]);
        assert_eq!(shares(&[relay(0, false), relay(FULL, true)]), [1000, 0]);
    }

    /// Reports are as old as a second, in which a fifth of what a relay carries may come.
    #[test]
    fn reports_of_yesterday_do_not_send_all_to_one() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut live = [300.0, 0.0, 100.0, 0.0];
        for _ in 0..60 {
            let reported = live.map(|load: f64| relay(load as u16, false));
            for _ in 0..100 {
                let chosen = choose(&reported, 2, || rng.random());
                live[chosen[0]] += 2.0;
            }
            // A tenth of all calls ends.
            live = live.map(|load| load * 0.9);
            let most = live.iter().copied().fold(0.0, f64::max);
            assert!(most < 700.0, "{live:?}");
        }
        let (least, most) = live
            .iter()
            .fold((f64::MAX, 0.0_f64), |(least, most), &load| {
                (least.min(load), most.max(load))
            });
        assert!(most - least < 150.0, "{live:?}");
    }
}

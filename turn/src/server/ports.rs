//! The ports of the relay range that are free.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand::rngs::StdRng;

/// The free ones of a range, each found and taken in constant time.
pub(super) struct Ports {
    first: u16,
    free: Vec<u16>,
    /// Where each port stands in `free`; by distance from `first`.
    places: Vec<Option<u16>>,
}

impl Ports {
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let first = *range.start();
        let free: Vec<u16> = range.collect();
        let places = (0..free.len())
            .map(|place| u16::try_from(place).ok())
            .collect();
        Ports {
            first,
            free,
            places,
        }
    }

    pub fn take_any(&mut self, rng: &mut StdRng) -> Option<u16> {
        if self.free.is_empty() {
            return None;
        }
        let place = rng.random_range(0..self.free.len());
        let port = *self.free.get(place)?;
        self.take(port).then_some(port)
    }

    /// An even port; with `next`, the one above it as well.
    pub fn take_even(&mut self, next: bool, rng: &mut StdRng) -> Option<u16> {
        let right = |port: u16| {
            port.is_multiple_of(2)
                && (!next || port.checked_add(1).is_some_and(|p| self.is_free(p)))
        };
        let begin = if self.free.is_empty() {
            0
        } else {
            rng.random_range(0..self.free.len())
        };
        let (after, before) = self.free.split_at_checked(begin).map(|(a, b)| (b, a))?;
        let port = after
            .iter()
            .chain(before)
            .copied()
            .find(|port| right(*port))?;
        self.take(port);
        if next {
            self.take(port + 1);
        }
        Some(port)
    }

    fn is_free(&self, port: u16) -> bool {
        self.place(port).is_some()
    }

    fn place(&self, port: u16) -> Option<u16> {
        let index = port.checked_sub(self.first)?;
        self.places.get(usize::from(index)).copied().flatten()
    }

    fn set_place(&mut self, port: u16, place: Option<u16>) {
        let cell = port
            .checked_sub(self.first)
            .and_then(|index| self.places.get_mut(usize::from(index)));
        if let Some(cell) = cell {
            *cell = place;
        }
    }

    fn take(&mut self, port: u16) -> bool {
        let Some(place) = self.place(port) else {
            return false;
        };
        self.free.swap_remove(usize::from(place));
        self.set_place(port, None);
        if let Some(&moved) = self.free.get(usize::from(place)) {
            self.set_place(moved, Some(place));
        }
        true
    }

    pub fn give(&mut self, port: u16) {
        if let (false, Ok(place)) = (self.is_free(port), u16::try_from(self.free.len())) {
            self.free.push(port);
            self.set_place(port, Some(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_port_is_given_once_and_comes_back() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut ports = Ports::new(65500..=65535);
        for _ in 0..3 {
            let mut taken: Vec<u16> = std::iter::from_fn(|| ports.take_any(&mut rng)).collect();
            assert_ne!(
                taken,
                (65500..=65535).collect::<Vec<_>>(),
                "in no order that can be guessed"
            );
            assert!(taken.iter().all(|port| !ports.is_free(*port)));
            taken.iter().for_each(|port| ports.give(*port));
            taken.iter().for_each(|port| ports.give(*port));
            assert_eq!(ports.free.len(), 36, "given back twice counts once");
            taken.sort();
            assert_eq!(taken, (65500..=65535).collect::<Vec<_>>());
        }
    }

    #[test]
    fn even_ports_with_the_one_above() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut ports = Ports::new(50001..=50008);
        assert!(ports.take(50005));
        let mut pairs: Vec<u16> = std::iter::from_fn(|| ports.take_even(true, &mut rng)).collect();
        pairs.sort();
        assert_eq!(pairs, [50002, 50006]);
        let mut evens: Vec<u16> = std::iter::from_fn(|| ports.take_even(false, &mut rng)).collect();
        evens.sort();
        assert_eq!(evens, [50004, 50008]);
        assert_eq!(ports.take_any(&mut rng), Some(50001));
        assert_eq!(ports.take_any(&mut rng), None);
    }
}

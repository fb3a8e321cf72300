//! Figures out of samples.

/// The middle value, or the mean of the two in the middle; 0 of none.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest sample that is not exceeded by `percent` of all (nearest rank); 0 of none. Sorts them.
pub fn percentile(samples: &mut [u64], percent: f64) -> u64 {
    samples.sort_unstable();
    let rank = (percent / 100.0 * samples.len() as f64).ceil() as usize;
    let index = rank.clamp(1, samples.len().max(1)) - 1;
    samples.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), 3.0);
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let mut samples: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(percentile(&mut samples, 50.0), 100);
        assert_eq!(percentile(&mut samples, 99.0), 198);
        assert_eq!(percentile(&mut samples, 100.0), 200);
        assert_eq!(percentile(&mut [3], 99.0), 3);
        assert_eq!(percentile(&mut [], 50.0), 0);
    }
}

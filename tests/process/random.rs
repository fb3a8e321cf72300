//! Chance that can be had again.

/// Makes the run that begins with this number.
const SEED: &str = "MOZNODS_TEST_SEED";

/// Splitmix64: a failure can be had again by its seed.
pub struct Random(u64);

impl Random {
    /// By a seed that it prints.
    pub fn seeded() -> Self {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => u64::from(std::process::id()) ^ 0x5EED_0000,
        };
        println!("{SEED}={seed}");
        Random(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

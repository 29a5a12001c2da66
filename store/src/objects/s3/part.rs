//! Parts of large objects.

/// Size of a part in bytes, and limit of an object that is put in one request.
pub(super) const PART_BYTES: u64 = 8 << 20;
/// Limit of S3 for the parts of an object.
const MAX_PARTS: u64 = 10_000;

/// Returns the size of the parts of an object, in bytes.
pub(super) fn part_bytes(bytes: u64) -> u64 {
    PART_BYTES.max(bytes.div_ceil(MAX_PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_stays_within_the_limit_of_parts() {
        assert_eq!(part_bytes(PART_BYTES + 1), PART_BYTES);
        assert_eq!(part_bytes(PART_BYTES * MAX_PARTS), PART_BYTES);
        let five_tib = 5_u64 << 40;
        assert!(five_tib.div_ceil(part_bytes(five_tib)) <= MAX_PARTS);
    }
}

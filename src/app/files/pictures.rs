//! Pictures: read, made small and written anew, so that nothing but what is seen remains. All of it is hostile: a few
//! bytes may claim to be a picture that fills the memory.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use tokio::sync::Semaphore;

/// Pixels of a picture that is decoded.
pub const MAX_PIXELS: u64 = 24_000_000;
/// Bytes that its pixels may take, and what its decoder may take beside.
const MAX_DECODED: u64 = 100 * 1024 * 1024;
/// Decoded at once.
const AT_ONCE: usize = 1;
const JPEG_QUALITY: u8 = 82;

/// Those that are decoded; nothing else is shown in a page.
pub const TYPES: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

#[derive(Debug)]
pub struct Small {
    /// Of the original, as it is shown.
    pub dimensions: (u32, u32),
    /// A JPEG, or where something shines through a PNG.
    pub bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    NotAPicture,
    /// More than is decoded; its dimensions are known.
    TooLarge(u32, u32),
}

/// Decodes on threads that may block, so many at once.
#[derive(Debug)]
pub struct Pictures {
    places: Arc<Semaphore>,
}

impl Default for Pictures {
    fn default() -> Self {
        Pictures {
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Pictures {
    /// The picture in this file, with neither side longer than `side` pixels.
    pub async fn small(&self, path: PathBuf, side: u32) -> Result<Small, Trouble> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let work = move || {
            let _place = place;
            small(File::open(path).ok().ok_or(Trouble::NotAPicture)?, side)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "a picture could not be decoded");
                Err(Trouble::NotAPicture)
            }
        }
    }
}

fn small(file: File, side: u32) -> Result<Small, Trouble> {
    let unreadable = |error: image::ImageError| {
        tracing::debug!(%error, "not a picture");
        Trouble::NotAPicture
    };
    let mut reader = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(|_| Trouble::NotAPicture)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    let dimensions = match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_DECODED {
        return Err(Trouble::TooLarge(dimensions.0, dimensions.1));
    }
    let whole = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    let mut shown = if width.max(height) > side {
        whole.thumbnail(side, side)
    } else {
        whole
    };
    shown.apply_orientation(orientation);
    let bytes = encoded(&shown).map_err(unreadable)?;
    Ok(Small { dimensions, bytes })
}

fn encoded(picture: &DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    if picture.color().has_alpha() {
        let pixels = picture.to_rgba8();
        if pixels.pixels().any(|pixel| pixel.0[3] < u8::MAX) {
            pixels.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
            return Ok(bytes);
        }
    }
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&picture.to_rgb8())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn made_small(bytes: &[u8], side: u32) -> Result<Small, Trouble> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        small(file, side)
    }

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_picture_keeps_its_shape_and_what_shines_through() {
        let opaque = RgbImage::from_pixel(1000, 500, Rgb([200, 10, 10]));
        let small = made_small(&png(&opaque.into()), 320).unwrap();
        assert_eq!(small.dimensions, (1000, 500));
        assert_eq!(
            image::guess_format(&small.bytes).unwrap(),
            ImageFormat::Jpeg
        );
        let again = image::load_from_memory(&small.bytes).unwrap();
        assert_eq!((again.width(), again.height()), (320, 160));

        let glass = RgbaImage::from_pixel(10, 20, Rgba([0, 0, 255, 100]));
        let small = made_small(&png(&glass.into()), 320).unwrap();
        assert_eq!(image::guess_format(&small.bytes).unwrap(), ImageFormat::Png);
        let again = image::load_from_memory(&small.bytes).unwrap();
        assert_eq!(
            (again.width(), again.height()),
            (10, 20),
            "never made larger"
        );

        let solid = RgbaImage::from_pixel(10, 20, Rgba([0, 0, 255, 255]));
        let small = made_small(&png(&solid.into()), 320).unwrap();
        assert_eq!(
            image::guess_format(&small.bytes).unwrap(),
            ImageFormat::Jpeg
        );
    }

    /// A JPEG lies on its side, as cameras write it; what is made of it stands, and says nothing of where it was taken.
    #[test]
    fn a_photo_stands_upright_and_its_exif_is_gone() {
        let mut plain = Vec::new();
        let photo = RgbImage::from_fn(40, 20, |x, _| match x {
            0..20 => Rgb([255, 0, 0]),
            _ => Rgb([0, 0, 255]),
        });
        JpegEncoder::new(&mut plain).encode_image(&photo).unwrap();
        // One entry: orientation 6, to be turned by 90 degrees clockwise.
        let exif =
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0GPS here";
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        let turned = [&plain[..2], &[0xFF, 0xE1], &length, exif, &plain[2..]].concat();

        let small = made_small(&turned, 320).unwrap();
        assert_eq!(small.dimensions, (20, 40));
        let upright = image::load_from_memory(&small.bytes).unwrap().to_rgb8();
        assert_eq!(upright.dimensions(), (20, 40));
        assert!(upright.get_pixel(10, 5).0[0] > 200, "red is above");
        assert!(upright.get_pixel(10, 35).0[2] > 200, "blue is below");
        let has =
            |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|part_of| part_of == part);
        assert!(has(&turned, b"GPS here") && !has(&small.bytes, b"GPS here"));
        assert!(!has(&small.bytes, b"Exif"));
    }

    #[test]
    fn what_is_too_large_or_damaged_is_not_decoded() {
        let whole = png(&RgbImage::new(64, 64).into());
        // The head of a PNG says 10,000 by 10,000; its checksum is made right.
        let mut bomb = whole.clone();
        bomb[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
        let checksum = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(
            made_small(&bomb, 320).unwrap_err(),
            Trouble::TooLarge(10_000, 10_000)
        );
        for damaged in [&whole[..whole.len() / 2], b"GIF89a<script>", b""] {
            assert_eq!(made_small(damaged, 320).unwrap_err(), Trouble::NotAPicture);
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
                1 => sum >> 1 ^ 0xEDB8_8320,
                _ => sum >> 1,
            })
        })
    }
}

//! Many datagrams by one system call, and on which core a process runs.
//!
//! Ours and not a library's: nix's `sendmmsg` gives all messages of a call the same control messages, where each has a
//! segment size of its own; rustix has no `recvmmsg`; quinn-udp sends one message a call.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{SockAddr, SockFilter, SockRef};

/// Most segments of one message (the kernel's `UDP_MAX_SEGMENTS`; newer ones take 128).
pub const MAX_SEGMENTS: usize = 64;

/// `asm-generic/socket.h`; libc does not name it everywhere.
const SO_MEMINFO: libc::c_int = 55;

/// Room for one control message that holds a number, aligned as control messages are.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 32]);

const EMPTY_CONTROL: Control = Control([0; 32]);

/// A message with nothing in it: no name, no buffer, no control.
fn empty_message() -> libc::mmsghdr {
    // SAFETY: all-zero bytes are a valid mmsghdr: numbers that are 0 and pointers that are null.
    unsafe { std::mem::zeroed() }
}

/// What one message of [`Sender::send`] is made of.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where to; `None` on a connected socket.
    pub to: Option<&'a SockAddr>,
    /// One after the other they are the payload.
    pub parts: &'a [IoSlice<'a>],
    /// Cuts the payload into datagrams of so many bytes, the last of which may be shorter (UDP_SEGMENT).
    pub segment: Option<u16>,
}

/// Sends up to so many messages a call.
pub struct Sender {
    headers: Vec<libc::mmsghdr>,
    controls: Vec<Control>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sender({})", self.headers.len())
    }
}

impl Sender {
    /// `capacity`: messages of one call.
    pub fn new(capacity: usize) -> Self {
        Sender {
            headers: (0..capacity).map(|_| empty_message()).collect(),
            controls: vec![EMPTY_CONTROL; capacity],
        }
    }

    /// Hands the messages to the kernel, no more of them than the capacity, and returns how many it took: those that
    /// follow are to be sent again. Fails when not even the first one was taken.
    pub fn send<'a>(
        &mut self,
        socket: &impl AsFd,
        messages: impl IntoIterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let places = self.headers.iter_mut().zip(&mut self.controls);
        for ((header, control), message) in places.zip(messages) {
            count += 1;
            let header = &mut header.msg_hdr;
            (header.msg_name, header.msg_namelen) = match message.to {
                Some(address) => (address.as_ptr().cast_mut().cast(), address.len()),
                None => (std::ptr::null_mut(), 0),
            };
            // An IoSlice is an iovec, by its documentation.
            header.msg_iov = message.parts.as_ptr().cast_mut().cast();
            header.msg_iovlen = message.parts.len() as _;
            (header.msg_control, header.msg_controllen) = match message.segment {
                Some(size) => {
                    write_segment(control, size);
                    let length = size_of::<u16>() as u32;
                    // SAFETY: CMSG_SPACE only computes.
                    let space = unsafe { libc::CMSG_SPACE(length) };
                    (control.0.as_mut_ptr().cast(), space as _)
                }
                None => (std::ptr::null_mut(), 0),
            };
        }
        if count == 0 {
            return Ok(0);
        }
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the first `count` headers point to addresses, iovecs and control messages that were borrowed for as
        // long as `messages` lives, or that this struct owns; the kernel reads them only.
        let sent = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), count as _, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Time that a process has run on any core.
pub fn cpu_of(process: u32) -> io::Result<Duration> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: the pointer is to a live variable that the call fills in.
    let failed = unsafe { libc::clock_getcpuclockid(process, &mut clock) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: as above.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Makes the control message UDP_SEGMENT.
fn write_segment(control: &mut Control, size: u16) {
    // SAFETY: CMSG_LEN only computes.
    let length = unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) };
    let header = libc::cmsghdr {
        cmsg_len: length as _,
        cmsg_level: libc::SOL_UDP,
        cmsg_type: libc::UDP_SEGMENT,
    };
    let place: *mut libc::cmsghdr = control.0.as_mut_ptr().cast();
    // SAFETY: the control's 32 aligned bytes hold a header (16) and a number (2).
    unsafe {
        place.write(header);
        libc::CMSG_DATA(place).cast::<u16>().write_unaligned(size);
    }
}

/// Receives up to so many messages a call, each into a buffer of its own.
pub struct Receiver {
    headers: Vec<libc::mmsghdr>,
    /// What the headers point to; never moved or resized.
    vectors: Vec<libc::iovec>,
    controls: Vec<Control>,
    bytes: Vec<u8>,
    /// Bytes of each buffer, and how many of them stand before what is received.
    size: usize,
    headroom: usize,
    gro: bool,
}

// SAFETY: the raw pointers are to heap memory that the struct owns.
unsafe impl Send for Receiver {}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver({} of {})", self.headers.len(), self.size)
    }
}

/// One message that was received: several datagrams of one length where the socket has [`set_gro`].
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The datagrams, one after the other.
    pub bytes: &'a [u8],
    /// Bytes of each but the last, which may be shorter; never 0.
    pub stride: usize,
}

impl Received<'_> {
    /// How many datagrams it is.
    pub fn datagrams(&self) -> usize {
        self.bytes.len().div_ceil(self.stride).max(1)
    }
}

impl Receiver {
    /// For up to `capacity` messages of at most `length` bytes each. `gro`: whether the sockets have [`set_gro`].
    pub fn new(capacity: usize, length: usize, gro: bool) -> Self {
        Self::with_headroom(capacity, length, gro, 0)
    }

    /// As [`Receiver::new`], with so many bytes before each message.
    pub fn with_headroom(capacity: usize, length: usize, gro: bool, headroom: usize) -> Self {
        let size = (headroom + length).next_multiple_of(64);
        let mut bytes = vec![0_u8; size * capacity];
        let mut vectors: Vec<libc::iovec> = bytes
            .chunks_exact_mut(size)
            .map(|buffer| libc::iovec {
                iov_base: buffer[headroom..].as_mut_ptr().cast(),
                iov_len: length,
            })
            .collect();
        let mut controls = vec![EMPTY_CONTROL; capacity];
        let headers = vectors
            .iter_mut()
            .zip(&mut controls)
            .map(|(vector, control)| {
                let mut header = empty_message();
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                if gro {
                    header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                }
                header
            })
            .collect();
        Receiver {
            headers,
            vectors,
            controls,
            bytes,
            size,
            headroom,
            gro,
        }
    }

    /// Receives what there is; on a blocking socket waits for the first message alone. Returns how many messages.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        if self.gro {
            for header in &mut self.headers {
                header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            }
        }
        let fd = socket.as_fd().as_raw_fd();
        let count = self.headers.len() as libc::c_uint;
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the headers point to iovecs, buffers and controls of the lengths that they say, all owned by this
        // struct and not borrowed while it is borrowed mutably.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                headers,
                count,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// One of the messages of the last [`receive`](Self::receive), counted from 0.
    ///
    /// # Panics
    /// When `index` is not below the capacity.
    pub fn message(&self, index: usize) -> Received<'_> {
        let header = &self.headers[index];
        let begin = index * self.size + self.headroom;
        let length = (header.msg_len as usize).min(self.vectors[index].iov_len);
        let stride = match self.gro {
            true => read_segment(&header.msg_hdr, &self.controls[index]).unwrap_or(length),
            false => length,
        };
        Received {
            bytes: &self.bytes[begin..begin + length],
            stride: stride.max(1),
        }
    }

    /// The same with the headroom before it.
    ///
    /// # Panics
    /// When `index` is not below the capacity.
    pub fn message_with_headroom(&self, index: usize) -> &[u8] {
        let length = (self.headers[index].msg_len as usize).min(self.vectors[index].iov_len);
        let begin = index * self.size;
        &self.bytes[begin..begin + self.headroom + length]
    }
}

/// From now on the kernel drops what arrives, and counts it: [`drops`].
pub fn drop_all(socket: &UdpSocket) -> io::Result<()> {
    // A classic BPF program of one instruction: keep nothing.
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let keep_nothing = SockFilter::new(code, 0, 0, 0);
    SockRef::from(socket).attach_filter(&[keep_nothing])
}

/// Datagrams that the kernel has dropped at this socket; it counts round.
pub fn drops(socket: &UdpSocket) -> io::Result<u32> {
    // SK_MEMINFO_DROPS is the last of nine numbers (linux/sock_diag.h).
    let mut numbers = [0_u32; 9];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the call writes at most `length` bytes, which is what there is of `numbers`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &mut length,
        )
    };
    match failed {
        0 => Ok(numbers[8]),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The segment size that the kernel has written, if any.
fn read_segment(header: &libc::msghdr, control: &Control) -> Option<usize> {
    // SAFETY: CMSG_LEN only computes.
    let length = unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as u32) } as usize;
    // As wide as `usize` with glibc, narrower with musl.
    #[allow(clippy::unnecessary_cast)]
    if (header.msg_controllen as usize) < length {
        return None;
    }
    // SAFETY: the control's 32 bytes hold a header, and are aligned for it.
    let message = unsafe { control.0.as_ptr().cast::<libc::cmsghdr>().read() };
    if (message.cmsg_level, message.cmsg_type) != (libc::SOL_UDP, libc::UDP_GRO) {
        return None;
    }
    let data = control.0[size_of::<libc::cmsghdr>()..].first_chunk()?;
    usize::try_from(libc::c_int::from_ne_bytes(*data)).ok()
}

/// Has the kernel hand over several datagrams of one sender as one message (UDP_GRO).
pub fn set_gro(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer and the length describe `on`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the calling thread, and what it starts from now on, to these cores.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    // SAFETY: all-zero bytes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        if *core < 8 * size_of::<libc::cpu_set_t>() {
            // SAFETY: the core lies within the set.
            unsafe { libc::CPU_SET(*core, &mut set) };
        }
    }
    // SAFETY: the pointer and the length describe `set`; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn sockets() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        (sender, receiver)
    }

    #[test]
    fn messages_of_one_call_arrive_each_for_itself() {
        let (sender, receiver) = sockets();
        let to = SockAddr::from(receiver.local_addr().unwrap());
        let parts = [
            [IoSlice::new(b"ab"), IoSlice::new(b"")],
            [IoSlice::new(b"c"), IoSlice::new(b"def")],
        ];
        let messages = parts.iter().map(|parts| Outgoing {
            to: Some(&to),
            parts,
            segment: None,
        });
        assert_eq!(Sender::new(8).send(&sender, messages).unwrap(), 2);
        let mut received = Receiver::with_headroom(8, 100, false, 4);
        assert_eq!(received.receive(&receiver).unwrap(), 2);
        assert_eq!(received.message(0).bytes, b"ab");
        assert_eq!(received.message(1).bytes, b"cdef");
        assert_eq!(received.message_with_headroom(1), b"\0\0\0\0cdef");
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let (sender, receiver) = sockets();
        receiver.set_nonblocking(true).unwrap();
        drop_all(&receiver).unwrap();
        let before = drops(&receiver).unwrap();
        for _ in 0..5 {
            sender
                .send_to(&[7; 100], receiver.local_addr().unwrap())
                .unwrap();
        }
        // On loopback who sends delivers.
        assert_eq!(drops(&receiver).unwrap() - before, 5);
        assert!(receiver.recv(&mut [0; 100]).is_err());
    }

    #[test]
    fn a_burst_leaves_and_arrives_as_one_message() {
        let (sender, receiver) = sockets();
        set_gro(&receiver).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let burst = [7; 250];
        let parts = [IoSlice::new(&burst[..130]), IoSlice::new(&burst[130..])];
        let message = Outgoing {
            to: None,
            parts: &parts,
            segment: Some(100),
        };
        assert_eq!(Sender::new(1).send(&sender, [message]).unwrap(), 1);
        let mut received = Receiver::new(4, 65_536, true);
        assert_eq!(received.receive(&receiver).unwrap(), 1);
        let message = received.message(0);
        assert_eq!((message.bytes, message.stride), (&burst[..], 100));
        assert_eq!(message.datagrams(), 3);
    }

    #[test]
    fn no_more_is_sent_than_there_is_room_for() {
        let (sender, receiver) = sockets();
        let to = SockAddr::from(receiver.local_addr().unwrap());
        let parts = [IoSlice::new(b"x")];
        let message = Outgoing {
            to: Some(&to),
            parts: &parts,
            segment: None,
        };
        let sent = Sender::new(3).send(&sender, std::iter::repeat_n(message, 5));
        assert_eq!(sent.unwrap(), 3);
    }
}

//! The system calls that read and send datagrams by the batch (`recvmmsg`, `sendmmsg`), several of one sender or to one
//! receiver as one (`UDP_GRO`, `UDP_SEGMENT`). No library does so with payload that lies between headers, which is what
//! a relay has. What is read and what is sent is left to `batch`.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

/// Messages of one call.
pub const MESSAGES: usize = 64;
/// Datagrams that the kernel takes as one (`UDP_MAX_SEGMENTS` of all versions).
pub const SEGMENTS: usize = 64;
/// Pieces of each.
const PIECES_OF_ONE: usize = 3;
const PIECES: usize = 1024;

/// Room for the control messages of one datagram: an address of this machine and the length of segments.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 96]);

#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    fn new(address: SocketAddr) -> (Self, libc::socklen_t) {
        match address {
            SocketAddr::V4(address) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: to_in(*address.ip()),
                    sin_zero: [0; 8],
                };
                (Name { v4 }, size_of::<libc::sockaddr_in>() as _)
            }
            SocketAddr::V6(address) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: to_in6(*address.ip()),
                    sin6_scope_id: address.scope_id(),
                };
                (Name { v6 }, size_of::<libc::sockaddr_in6>() as _)
            }
        }
    }

    /// # Safety
    ///
    /// The kernel must have written `len` bytes of an address here.
    unsafe fn address(&self, len: libc::socklen_t) -> Option<SocketAddr> {
        let len = len as usize;
        if len < size_of::<libc::sa_family_t>() {
            return None;
        }
        // SAFETY: both begin with the family, which any address has.
        let family = libc::c_int::from(unsafe { self.v4.sin_family });
        if family == libc::AF_INET && len >= size_of::<libc::sockaddr_in>() {
            // SAFETY: a whole address of this family has been written.
            let v4 = unsafe { self.v4 };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            return Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into());
        }
        if family == libc::AF_INET6 && len >= size_of::<libc::sockaddr_in6>() {
            // SAFETY: a whole address of this family has been written.
            let v6 = unsafe { self.v6 };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            return Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into());
        }
        None
    }
}

fn to_in(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

fn to_in6(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: ip.octets(),
    }
}

/// One datagram, or several of one sender, behind each other and all but the last of one length.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    pub from: SocketAddr,
    /// The address of this machine to which it was sent, of a socket that was told to say so.
    pub to: Option<IpAddr>,
    pub len: usize,
    /// Length of each but the last.
    pub segment: usize,
}

impl Received {
    /// Where each datagram begins, and its length.
    pub fn datagrams(self) -> impl Iterator<Item = (usize, usize)> {
        let cut = move |begin| (begin, self.segment.min(self.len - begin));
        (0..self.len.max(1)).step_by(self.segment).map(cut)
    }
}

/// Reads into as many of these buffers as there are datagrams for, at most [`MESSAGES`]. When fewer come than there was
/// room for, the socket has no more, or an error, of which an event tells beside.
pub fn receive<'b>(
    socket: &impl AsRawFd,
    buffers: impl Iterator<Item = &'b mut [u8]>,
    mut each: impl FnMut(Received),
) -> io::Result<usize> {
    let mut names = [const { MaybeUninit::<Name>::uninit() }; MESSAGES];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; MESSAGES];
    let mut vecs = [const { MaybeUninit::<libc::iovec>::uninit() }; MESSAGES];
    let mut heads = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MESSAGES];
    let mut room = 0;
    for ((((buffer, name), control), vec), head) in buffers
        .zip(&mut names)
        .zip(&mut controls)
        .zip(&mut vecs)
        .zip(&mut heads)
    {
        let vec = vec.write(libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        });
        // SAFETY: an mmsghdr of zeros is valid.
        let head = head.write(unsafe { std::mem::zeroed() });
        head.msg_hdr.msg_name = name.as_mut_ptr().cast();
        head.msg_hdr.msg_namelen = size_of::<Name>() as _;
        head.msg_hdr.msg_iov = vec;
        head.msg_hdr.msg_iovlen = 1;
        head.msg_hdr.msg_control = control.as_mut_ptr().cast();
        head.msg_hdr.msg_controllen = size_of::<Control>() as _;
        room += 1;
    }
    // SAFETY: so many headers are initialized. Each points to a name, a control buffer and a buffer that live until
    // this function returns, of the lengths that it says.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            heads.as_mut_ptr().cast(),
            room,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    for (head, name) in heads.iter().zip(&names).take(count) {
        // SAFETY: initialized above, and filled in by the kernel.
        let head = unsafe { head.assume_init_ref() };
        let len = head.msg_len as usize;
        let mut received = Received {
            // SAFETY: the kernel has written an address of that length.
            from: unsafe { name.assume_init_ref().address(head.msg_hdr.msg_namelen) }
                .unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            to: None,
            len,
            segment: len.max(1),
        };
        // SAFETY: the header is as recvmmsg left it, and its control buffer lives.
        unsafe { read_control(&head.msg_hdr, &mut received) };
        each(received);
    }
    Ok(count)
}

/// # Safety
///
/// The header must be as a call that reads has left it, with its control buffer alive.
unsafe fn read_control(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: as the caller grants.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: it is null, or points to a control message in the buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        // SAFETY: the data of that message.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (message.cmsg_level, message.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: what the kernel writes for this type; it may stand anywhere.
                let info: libc::in_pktinfo = unsafe { std::ptr::read_unaligned(data.cast()) };
                let ip = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                received.to = Some(ip.into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above.
                let info: libc::in6_pktinfo = unsafe { std::ptr::read_unaligned(data.cast()) };
                received.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: as above.
                let segment: libc::c_int = unsafe { std::ptr::read_unaligned(data.cast()) };
                received.segment = usize::try_from(segment).unwrap_or(received.len).max(1);
            }
            _ => {}
        }
        // SAFETY: both are of the same, valid header.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

/// One message to be sent.
struct Message {
    name: Name,
    name_len: libc::socklen_t,
    control: MaybeUninit<Control>,
    control_len: usize,
    /// Where its pieces end, which begin where those of the one before end.
    end: usize,
}

/// Messages to be sent by one call. Borrows their pieces.
pub struct Sending<'b> {
    messages: [MaybeUninit<Message>; MESSAGES],
    len: usize,
    vecs: [MaybeUninit<libc::iovec>; PIECES],
    pieces: usize,
    /// Where those of the message begin that is being made.
    begin: usize,
    borrowed: PhantomData<&'b [u8]>,
}

impl<'b> Sending<'b> {
    pub fn new() -> Self {
        Sending {
            messages: [const { MaybeUninit::uninit() }; MESSAGES],
            len: 0,
            vecs: [const { MaybeUninit::uninit() }; PIECES],
            pieces: 0,
            begin: 0,
            borrowed: PhantomData,
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is room for one more message, however many segments it has.
    pub fn has_room(&self) -> bool {
        self.len < MESSAGES && self.pieces + SEGMENTS * PIECES_OF_ONE <= PIECES
    }

    /// Adds to the message that is being made. Beyond the room for it nothing is added.
    pub fn piece(&mut self, bytes: &'b [u8]) {
        if bytes.is_empty() {
            return;
        }
        let base = bytes.as_ptr().cast_mut().cast::<libc::c_void>();
        if self.pieces > self.begin
            && let Some(last) = self.vecs.get_mut(self.pieces - 1)
        {
            // SAFETY: it has been written.
            let last = unsafe { last.assume_init_mut() };
            // As one with what it lies behind; both are borrowed for as long.
            if last.iov_base.wrapping_byte_add(last.iov_len) == base {
                last.iov_len += bytes.len();
                return;
            }
        }
        if let Some(place) = self.vecs.get_mut(self.pieces) {
            place.write(libc::iovec {
                iov_base: base,
                iov_len: bytes.len(),
            });
            self.pieces += 1;
        }
    }

    /// Ends a message: to whom its pieces go, from which address of this machine where there are several, and how long
    /// the datagrams are that it is to be cut into.
    pub fn message(&mut self, to: SocketAddr, from: Option<IpAddr>, segment: Option<u16>) {
        let Some(place) = self.messages.get_mut(self.len) else {
            return;
        };
        let (name, name_len) = Name::new(to);
        let message = place.write(Message {
            name,
            name_len,
            control: MaybeUninit::uninit(),
            control_len: 0,
            end: self.pieces,
        });
        if from.is_some() || segment.is_some() {
            let control = message.control.write(Control([0; 96]));
            message.control_len = write_control(control, from, segment);
        }
        self.begin = self.pieces;
        self.len += 1;
    }

    /// Sends the messages from this one on, as far as the socket takes them: how many. An error is that of the first.
    pub fn send(&mut self, socket: &impl AsRawFd, first: usize) -> io::Result<usize> {
        let mut heads = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MESSAGES];
        let vecs = self.vecs.as_mut_ptr().cast::<libc::iovec>();
        let messages = self.messages.get_mut(..self.len).unwrap_or_default();
        // SAFETY: so many have been written, and a `MaybeUninit` is laid out as what it may hold.
        let messages = unsafe { &mut *(std::ptr::from_mut(messages) as *mut [Message]) };
        let (before, messages) = messages.split_at_mut_checked(first).unwrap_or_default();
        let mut begin = before.last().map_or(0, |before| before.end);
        let mut count = 0;
        let mut is_plain = false;
        for (message, head) in messages.iter_mut().zip(&mut heads) {
            // SAFETY: an mmsghdr of zeros is valid.
            let head = &mut head.write(unsafe { std::mem::zeroed() }).msg_hdr;
            head.msg_name = (&raw mut message.name).cast();
            head.msg_namelen = message.name_len;
            // SAFETY: `begin` is at most the number of pieces that have been written.
            head.msg_iov = unsafe { vecs.add(begin) };
            head.msg_iovlen = (message.end - begin) as _;
            if message.control_len > 0 {
                head.msg_control = message.control.as_mut_ptr().cast();
                head.msg_controllen = message.control_len as _;
            }
            is_plain = message.control_len == 0 && message.end - begin == 1;
            begin = message.end;
            count += 1;
        }
        let fd = socket.as_raw_fd();
        // One message alone is cheaper by the call that sends one, and one piece of it by the call for that.
        let sent = match heads.first() {
            Some(head) if count == 1 => {
                // SAFETY: the only header is initialized.
                let head = unsafe { &head.assume_init_ref().msg_hdr };
                let (name, len) = (head.msg_name.cast_const().cast(), head.msg_namelen);
                // SAFETY: name, control message and pieces, of which a plain one has one, live as long as `self` and
                // `'b`, and are only read.
                let sent = unsafe {
                    if is_plain {
                        let piece = &*head.msg_iov;
                        libc::sendto(fd, piece.iov_base, piece.iov_len, 0, name, len)
                    } else {
                        libc::sendmsg(fd, head, 0)
                    }
                };
                if sent < 0 { -1 } else { 1 }
            }
            // SAFETY: so many headers are initialized; what they point to, as above.
            _ => unsafe { libc::sendmmsg(fd, heads.as_mut_ptr().cast(), count, 0) },
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Writes what these need and returns how many bytes.
fn write_control(control: &mut Control, from: Option<IpAddr>, segment: Option<u16>) -> usize {
    let mut used = 0;
    match from {
        Some(IpAddr::V4(ip)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: to_in(ip),
                ipi_addr: to_in(Ipv4Addr::UNSPECIFIED),
            };
            used += put(control, used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(ip)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: to_in6(ip),
                ipi6_ifindex: 0,
            };
            used += put(control, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if let Some(segment) = segment {
        used += put(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    used
}

/// Writes one control message behind what is `used`, and returns what it takes.
fn put<T>(
    control: &mut Control,
    used: usize,
    level: libc::c_int,
    kind: libc::c_int,
    value: T,
) -> usize {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: these only compute.
    let (len, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
    let Some(room) = control.0.get_mut(used..used + space) else {
        return 0;
    };
    let head = room.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the room is as large as such a message takes, and aligned for it: the buffer is, and so is each length
    // that `CMSG_SPACE` gives. The data stands behind the head, within it.
    unsafe {
        (*head).cmsg_len = len as _;
        (*head).cmsg_level = level;
        (*head).cmsg_type = kind;
        std::ptr::write_unaligned(libc::CMSG_DATA(head).cast::<T>(), value);
    }
    space
}

/// Has the kernel hand over several datagrams of one sender as one, where it can.
pub fn gather(socket: &impl AsRawFd) {
    // Without it they come one by one.
    let _ = set(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO);
}

/// Has the kernel say to which address each datagram was sent.
pub fn tell_destination(socket: &impl AsRawFd, ipv4: bool) -> io::Result<()> {
    match ipv4 {
        true => set(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO),
        false => set(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
        ),
    }
}

fn set(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    super::sys::set_int(fd, level, name, 1)
}

//! System calls that no library we use wraps, but for those that `mmsg` reads and sends by.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::server::IcmpError;

/// What may become of a datagram that is larger than the path to a peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragments {
    Allowed,
    Forbidden,
}

/// Sets it for what an allocation's socket sends from now on (RFC 8656 §14).
pub fn set_fragments(socket: &Socket, ipv4: bool, fragments: Fragments) -> io::Result<()> {
    let (level, name, value) = match (ipv4, fragments) {
        // DF is 0, on any path: what the path is said to take does not count, so nobody can lower it with a
        // forged ICMP packet.
        (true, Fragments::Allowed) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        ),
        (true, Fragments::Forbidden) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        ),
        // Only the sender fragments IPv6, so it has to know what the path takes.
        (false, Fragments::Allowed) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_WANT,
        ),
        (false, Fragments::Forbidden) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        ),
    };
    set_int(socket.as_raw_fd(), level, name, value)
}

/// Has the kernel keep the ICMP errors about what is sent from now on, for [`take_icmp`].
pub fn keep_icmp(socket: &Socket, ipv4: bool) -> io::Result<()> {
    let (level, name) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    };
    set_int(socket.as_raw_fd(), level, name, 1)
}

/// Whether a call on a socket that keeps ICMP errors failed for one of those, which says nothing about the call.
pub fn is_of_icmp(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EPROTO
                | libc::EMSGSIZE
                | libc::EACCES
        )
    )
}

/// Room for the one control message that comes with an error: the error, and the address of who complained.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// Takes the next error that the kernel has kept, its own that a datagram is too large among them; `Ok(None)` is one
/// of no interest. When there is none left, `WouldBlock`.
pub fn take_icmp(socket: &impl AsRawFd) -> io::Result<Option<IcmpError>> {
    let mut control = Control([0; 256]);
    let receive = |address: *mut SockAddrStorage, address_len: *mut libc::socklen_t| {
        // SAFETY: a msghdr of zeros is valid: all of its pointers may be null where their lengths are 0.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = address.cast();
        // SAFETY: `try_init` hands in a valid pointer to the length of its storage.
        header.msg_namelen = unsafe { *address_len };
        header.msg_control = (&raw mut control.0).cast();
        header.msg_controllen = control.0.len() as _;
        // SAFETY: the name and the control buffer are live and of the lengths that the header says; no data is asked
        // for.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_ERRQUEUE) };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        unsafe { *address_len = header.msg_namelen };
        // SAFETY: the header is as recvmsg left it, and its control buffer, aligned as control messages are, is live.
        let first = unsafe { libc::CMSG_FIRSTHDR(&header) };
        // SAFETY: it is null, or points to a control message in that buffer.
        if !unsafe { first.as_ref() }.is_some_and(is_error) {
            return Ok(None);
        }
        // SAFETY: the kernel has written a sock_extended_err behind a control message of this type and length; it
        // may stand anywhere.
        let error: libc::sock_extended_err =
            unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(first).cast()) };
        Ok(Some(error))
    };
    // SAFETY: recvmsg has filled the storage with an address of the length that `receive` sets.
    let (error, address) = unsafe { SockAddr::try_init(receive) }?;
    let (Some(error), Some(peer)) = (error, address.as_socket()) else {
        return Ok(None);
    };
    Ok(match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => Some(IcmpError {
            peer,
            kind: error.ee_type,
            code: error.ee_code,
            mtu: error.ee_info,
        }),
        libc::SO_EE_ORIGIN_LOCAL if error.ee_errno == libc::EMSGSIZE as u32 => {
            Some(IcmpError::too_big(peer, error.ee_info))
        }
        _ => None,
    })
}

fn is_error(message: &libc::cmsghdr) -> bool {
    let kind = (message.cmsg_level, message.cmsg_type);
    let known = [
        (libc::IPPROTO_IP, libc::IP_RECVERR),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    ];
    // SAFETY: CMSG_LEN only computes.
    let whole = unsafe { libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as u32) };
    known.contains(&kind) && message.cmsg_len >= whole as _
}

pub(super) fn set_int(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A timer, not set.
pub fn timer() -> io::Result<OwnedFd> {
    // SAFETY: it takes no pointer.
    let fd = unsafe {
        libc::timerfd_create(
            libc::CLOCK_MONOTONIC,
            libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it has just been opened, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has it expire once, so long from now.
pub fn set_timer(timer: &OwnedFd, wait: Duration) -> io::Result<()> {
    let zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let setting = libc::itimerspec {
        it_interval: zero,
        it_value: libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos() as _,
        },
    };
    // SAFETY: `setting` is a valid itimerspec that the call only reads; what was set before is not asked for.
    let outcome =
        unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &setting, std::ptr::null_mut()) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// To be called once, at the start of a program: has glibc's allocator give large pieces of memory back to the system
/// as they are freed, always. Otherwise, after the first, it keeps the next of that size, which are the tables of a
/// relay that many have left. Other allocators look after themselves.
pub fn give_memory_back() {
    // SAFETY: they take no pointer, and may be called by any thread at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Bytes; what glibc begins with.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// Gives small pieces that were freed back to the system: by itself glibc keeps those below something still in use.
pub fn trim_heap() {
    // SAFETY: it takes no pointer, and may be called by any thread at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whether the kernel sends several datagrams as one (`UDP_SEGMENT`); otherwise each costs a call of its own.
pub fn sends_segments() -> bool {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0));
    socket.is_ok_and(|socket| {
        set_int(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            i32::from(u8::MAX),
        )
        .is_ok()
    })
}

/// Whether the kernel has been told that its clock is right, as by NTP (`adjtimex`).
pub fn clock_is_synchronized() -> io::Result<bool> {
    // SAFETY: a timex of zeros is valid, and asks for no change.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `timex` is valid for the call to fill in.
    match unsafe { libc::adjtimex(&mut timex) } {
        -1 => Err(io::Error::last_os_error()),
        state => Ok(state != libc::TIME_ERROR),
    }
}

/// Raises this process's limit of open files to the most it may have, and returns it: each allocation needs
/// one.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit that the call only reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

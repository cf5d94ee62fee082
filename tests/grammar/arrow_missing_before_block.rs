fn main() {
    let (tx, rx) = aqueduct::channel::bounded::<u8>(0);
    aqueduct::select! {
        tx <- 1 => {}
        v = <-rx { drop(v) }
        default => {}
    }
}

fn main() {
    let (tx, _rx) = aqueduct::channel::bounded::<u8>(0);
    aqueduct::select! {
        tx <- 1,
        default => {}
    }
}

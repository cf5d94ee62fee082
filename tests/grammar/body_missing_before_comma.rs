fn main() {
    let (_tx, rx) = aqueduct::channel::bounded::<u8>(0);
    aqueduct::select! {
        v = <-rx, if true => ,
        default => {}
    }
}

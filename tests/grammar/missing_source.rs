fn main() {
    aqueduct::select! {
        v = <- => drop(v),
    }
}

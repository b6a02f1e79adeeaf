//! Microsoft's services over the wire: Entra tokens, Graph, the CONNECT proxy on the way there.
